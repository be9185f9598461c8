//! Layers with real programs in them, as `tests/binaries` unpacked them from Debian's packages.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;

use super::image::{Image, gzip};

/// Nine architectures: Debian's word, and what an index says of it.
pub const NINE: [(&str, &str); 9] = [
    ("amd64", "linux/amd64"),
    ("arm64", "linux/arm64"),
    ("armhf", "linux/arm/v7"),
    ("armel", "linux/arm/v5"),
    ("i386", "linux/386"),
    ("ppc64el", "linux/ppc64le"),
    ("s390x", "linux/s390x"),
    ("mips64el", "linux/mips64le"),
    ("mipsel", "linux/mipsle"),
];

/// A file of a Debian package of this architecture.
pub fn debian(architecture: &str, path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/binaries").join(architecture).join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `tests/binaries` first", file.display()))
}

/// A static program.
pub fn busybox(architecture: &str) -> Vec<u8> {
    debian(architecture, "bin/busybox")
}

/// An image whose config says `platform` and that starts busybox of `architecture`.
pub fn starting_busybox(platform: &str, architecture: &str) -> Image {
    type Layers = HashMap<String, Bytes>;
    static LAYERS: LazyLock<Mutex<Layers>> = LazyLock::new(Mutex::default);
    let mut layers = LAYERS.lock().unwrap();
    let make = || Layer::new().file("bin/busybox", busybox(architecture)).link("bin/sh", "busybox").gzipped();
    let layer = layers.entry(architecture.to_owned()).or_insert_with(make).clone();
    Image::new(platform).layers(vec![layer])
}

/// A layer to be.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    /// An empty one.
    pub fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    /// An executable file.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Layer {
        let content = content.as_ref();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        self.0.append_data(&mut header, path, content).expect("tar to memory");
        self
    }

    /// A file of a Debian package, at its place.
    pub fn debian(self, architecture: &str, path: &str) -> Layer {
        self.file(path, debian(architecture, path))
    }

    /// The loader of an architecture's dynamic programs, where they look for it.
    pub fn debian_loader(self, architecture: &str) -> Layer {
        let path = match architecture {
            "amd64" => "lib64/ld-linux-x86-64.so.2",
            "arm64" => "lib/ld-linux-aarch64.so.1",
            "armhf" => "lib/ld-linux-armhf.so.3",
            "armel" => "lib/ld-linux.so.3",
            "i386" => "lib/ld-linux.so.2",
            "ppc64el" => "lib64/ld64.so.2",
            "s390x" => "lib/ld64.so.1",
            "mips64el" => "lib64/ld.so.1",
            "mipsel" => "lib/ld.so.1",
            other => panic!("the loader of {other} is not known"),
        };
        // The link leads to the library folder, by a path that may be absolute.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/binaries").join(architecture);
        let target = std::fs::read_link(root.join(path)).expect("the loader is a link; run `tests/binaries` first");
        let target = target.to_str().expect("a path is text").to_owned();
        let folder = path.split('/').next().unwrap_or_default();
        let file = target.strip_prefix('/').map_or_else(|| format!("{folder}/{target}"), str::to_owned);
        let content = debian(architecture, &file);
        self.file(&file, content).link(path, &target)
    }

    /// A symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Layer {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).expect("tar to memory");
        self
    }

    /// A mark that deletes what lower layers have at this path.
    pub fn whiteout(self, path: &str) -> Layer {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let separator = if folder.is_empty() { "" } else { "/" };
        self.file(&format!("{folder}{separator}.wh.{name}"), b"")
    }

    /// As tar.
    pub fn plain(self) -> Bytes {
        self.0.into_inner().expect("tar to memory").into()
    }

    /// As gzipped tar.
    pub fn gzipped(self) -> Bytes {
        gzip(&self.plain())
    }
}
