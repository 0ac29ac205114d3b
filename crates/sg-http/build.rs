//! Has the crate compiled again when the dashboard was built again. Does not build the dashboard: a build of the crate
//! needs no Node.

use std::fs::create_dir_all;

fn main() {
    const DASHBOARD: &str = "../../web/dist";
    // A folder that is missing would count as changed at every build. Where none can be made there is none to watch.
    if create_dir_all(DASHBOARD).is_ok() {
        println!("cargo::rerun-if-changed={DASHBOARD}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
