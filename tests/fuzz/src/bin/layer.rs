//! A layer definition in an image that has nothing else.
#![no_main]

use kiln::registry;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

const IMAGE: &str = r#"
schema = 1
name = "x"
arch = "amd64"
kubernetes = "1.36.4"
runtime = "one"
base = { distribution = "debian", suite = "trixie" }
layers = ["./one"]
versions = { cni-plugins = "1.9.1", containerd = "2.3.4", crictl = "1.36.0", pause = "3.10", runc = "1.4.3" }
outputs = ["raw"]
"#;

fuzz_target!(|text: &str| {
    let folder = folder();
    let image = folder.path().join("image.toml");
    write(&image, IMAGE);
    write(&folder.path().join("one/layer.toml"), text);
    // Files that the shipped layers name.
    write(&folder.path().join("one/config.toml"), "${containerd}");
    if let Err(error) = registry::load(&image, &[], None) {
        assert!(!error.message().is_empty());
    }
});
