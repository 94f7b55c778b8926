//! `firstboot`

fn main() {}
