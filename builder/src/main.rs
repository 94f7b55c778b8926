//! `kiln`: parse, run, report.

fn main() {}
