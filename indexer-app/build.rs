//! Has the program built again when a migration was added: the files are embedded, and a new one is no change of a known one.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
