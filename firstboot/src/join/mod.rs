//! The join: phases, one file each, in the order of the list.
