//! 3. Lock to content store: streaming, verified, parallel, resumable. The only module that opens sockets.
