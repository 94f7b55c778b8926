//! Where node config comes from. A source is one file here and one line in the list of sources.
