//! Windows, offline. No Windows is to be had where these tests run: what is read here only looks like it, and
//! is made by programs other than Kiln, which judge the results too.

mod bake;
mod compare;
mod drivers;
mod hive;
mod hostile;
mod layers;
mod lookalike;
mod tools;
