//! A migration that is added makes the crate anew.

fn main() {
    println!("cargo:rerun-if-changed=../../schemas/postgres");
}
