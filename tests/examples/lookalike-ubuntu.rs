//! Makes the archive in the shape of Ubuntu's, if it is not there yet, and prints the words for `kiln` that
//! name it, one on each line.

use kiln_tests::lookalike_ubuntu::{LookalikeUbuntu, hindrance};

fn main() {
    if let Some(why) = hindrance() {
        eprintln!("lookalike-ubuntu: {why}");
        std::process::exit(1);
    }
    for word in LookalikeUbuntu::of_this_machine().arguments() {
        println!("{word}");
    }
}
