//! Tells the program what it was built by, for its reports: figures without that are worth little.

use std::{env, process::Command};

fn main() {
    let rustc = env::var_os("RUSTC").expect("Cargo sets RUSTC for build scripts");
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!(
        "cargo::rustc-env=RUSTC_VERSION={}",
        version.unwrap_or_else(|_| "rustc of an unknown version".to_owned())
    );
    println!("cargo::rerun-if-changed=build.rs");
}
