//! Layers as other programs make them, and as nobody should: read like anybody else reads them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use onetag::inspect::{LayerReader, Limits, Summary};
use tempfile::TempDir;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// Runs a script in a folder; one that is not installed fails the test.
fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("could not start {program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with files, links and names that archives have trouble with.
fn tree() -> TempDir {
    let folder = TempDir::new().expect("a temporary directory");
    let root = folder.path().join("root");
    let long = "long-name-".repeat(12);
    let deep = (0..12).fold(root.clone(), |place, _| place.join(&long[..60]));
    for place in [root.join("bin"), deep.clone(), root.join("ünicode")] {
        std::fs::create_dir_all(place).expect("a folder");
    }
    let put = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).expect("a file");
    put(&root.join("bin/sh"), &std::fs::read("/bin/sh").expect("there is a shell"));
    put(&root.join("bin/script"), b"#!/bin/sh\n");
    put(&root.join("empty"), b"");
    put(&root.join("ünicode/naïve"), &[b'x'; 511]);
    put(&root.join("block"), &[b'x'; 512]);
    put(&root.join(&long), &[b'x'; 513]);
    put(&deep.join(&long), b"deep");
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).expect("a link");
    link("bin/sh", "link");
    link(&"far/".repeat(60), "far");
    std::fs::hard_link(root.join("bin/sh"), root.join("hard")).expect("a hard link");
    run(folder.path(), "chmod", &["755", "root/bin/sh", "root/bin/script"]);
    folder
}

fn read(media_type: &str, layer: &[u8]) -> Result<Summary, String> {
    let mut reader = LayerReader::new(media_type, Limits::default()).map_err(|flaw| flaw.to_string())?;
    layer.chunks(10_000).try_for_each(|piece| reader.feed(piece)).map_err(|flaw| flaw.to_string())?;
    reader.finish().map(|(summary, _)| summary).map_err(|flaw| flaw.to_string())
}

/// A summary as JSON, whose hard links lead one way: which of two names is the link is anybody's choice.
fn told(summary: &Summary) -> BTreeMap<String, serde_json::Value> {
    let json = serde_json::to_value(summary).expect("json");
    let nodes: BTreeMap<String, serde_json::Value> = serde_json::from_value(json["nodes"].clone()).expect("nodes");
    let resolved =
        |node: &serde_json::Value| node.get("h").and_then(|to| nodes.get(to.as_str()?)).unwrap_or(node).clone();
    nodes.iter().map(|(name, node)| (name.clone(), resolved(node))).collect()
}

#[test]
fn archives_of_every_maker_hold_the_same() {
    let folder = tree();
    let tar = |name: &str, options: &[&str]| {
        run(folder.path(), "tar", &[&["-C", "root", "-cf", name], options, &["."]].concat());
        read(TAR, &std::fs::read(folder.path().join(name)).expect("an archive")).expect(name)
    };
    let gnu = told(&tar("gnu.tar", &["--format=gnu"]));
    assert_eq!(gnu.len(), 24);
    assert_eq!(gnu["bin/script"]["f"], serde_json::json!([true, { "Script": "/bin/sh" }]));
    assert!(gnu["hard"]["f"][1]["Program"].is_object());
    assert_eq!(gnu["far"]["s"], "far/".repeat(60));
    assert_eq!(told(&tar("pax.tar", &["--format=pax"])), gnu);
    assert_eq!(told(&tar("posix.tar", &["--format=posix", "--sort=name", "--numeric-owner"])), gnu);

    for format in ["GNU_FORMAT", "PAX_FORMAT"] {
        let script = format!(
            "import tarfile\nwith tarfile.open('{format}.tar', 'w', format=tarfile.{format}) as t: t.add('root', arcname='.')"
        );
        run(folder.path(), "python3", &["-c", &script]);
        let archive = std::fs::read(folder.path().join(format!("{format}.tar"))).expect("an archive");
        assert_eq!(told(&read(TAR, &archive).expect(format)), gnu, "{format}");
    }
}

#[test]
fn layers_are_unpacked_as_their_tools_pack_them() {
    let folder = tree();
    run(folder.path(), "tar", &["-C", "root", "-cf", "layer.tar", "."]);
    let path = |name: &str| folder.path().join(name);
    let plain = std::fs::read(path("layer.tar")).expect("an archive");
    let expected = read(TAR, &plain).expect("a layer");
    for (script, packing) in [
        ("gzip -c1 layer.tar > packed", "+gzip"),
        ("gzip -c9 layer.tar > packed", "+gzip"),
        ("gzip -c layer.tar > packed; head -c 3000 /dev/zero >> packed", "+gzip"),
        ("(head -c 5000 layer.tar | gzip; tail -c +5001 layer.tar | gzip) > packed", "+gzip"),
        ("zstd -q -1 -c layer.tar > packed", "+zstd"),
        ("zstd -q --ultra -22 --long=27 -c layer.tar > packed", "+zstd"),
        ("zstd -q --no-check -c < layer.tar > packed", "+zstd"),
        ("(head -c 5000 layer.tar | zstd -q; tail -c +5001 layer.tar | zstd -q) > packed", "+zstd"),
    ] {
        run(folder.path(), "sh", &["-c", script]);
        let packed = std::fs::read(path("packed")).expect("a layer");
        assert_eq!(read(&format!("{TAR}{packing}"), &packed), Ok(expected.clone()), "{script}");
    }
}

#[test]
fn hostile_layers_are_put_down_with_a_reason() {
    let folder = TempDir::new().expect("a temporary directory");
    for (script, packing, reason) in [
        (
            "head -c 1G /dev/zero | gzip -9 > packed",
            "+gzip",
            "it unpacks to more than 200 times its size, as a bomb does",
        ),
        (
            "head -c 1G /dev/zero | zstd -q -19 > packed",
            "+zstd",
            "it unpacks to more than 200 times its size, as a bomb does",
        ),
        (
            "head -c 64M /dev/zero | zstd -q --ultra -22 --long=31 --no-progress > packed",
            "+zstd",
            "it needs a window of more than 128 MiB",
        ),
        ("head -c 1M /dev/urandom > packed", "+zstd", "it is not zstd, as it should be"),
        ("head -c 1M /dev/urandom > packed", "", "its archive has a header with "),
        ("head -c 100000 /dev/zero | xz > packed", "", "it is compressed with xz, which layers are not"),
    ] {
        run(folder.path(), "sh", &["-c", script]);
        let packed = std::fs::read(folder.path().join("packed")).expect("a layer");
        let told = read(&format!("{TAR}{packing}"), &packed).expect_err(script);
        assert!(told.starts_with(reason), "{script}: {told}");
    }
}

#[test]
fn more_files_than_any_image_has_are_not_read() {
    let limits = Limits { entries: 1000, name_bytes: 100_000, ..Limits::default() };
    let archive = |count: usize, name: &dyn Fn(usize) -> String| {
        let files: Vec<(String, Vec<u8>)> = (0..count).map(|number| (name(number), Vec::new())).collect();
        crate::support::image::tar(&files)
    };
    let read = |archive: &[u8]| {
        let mut reader = LayerReader::new(TAR, limits).expect("a layer");
        reader.feed(archive).and_then(|()| reader.finish()).map(|(summary, left)| (summary.len(), left.entries))
    };
    assert_eq!(read(&archive(999, &|number| format!("f{number}"))), Ok((999, 1)));
    let why = "it has more than 1000 files, or too long names for them";
    assert_eq!(
        read(&archive(1001, &|number| format!("f{number}"))).map_err(|flaw| flaw.to_string()),
        Err(why.to_owned())
    );
    let long = archive(30, &|number| format!("{}{number}", "n".repeat(4000)));
    assert!(read(&long).is_err());
}

/// Says to the process that is made for it which layer to read.
const HOSTILE: &str = "ONETAG_TEST_HOSTILE";

#[test]
fn the_worst_layers_take_little_memory_and_little_time() {
    if let Some(path) = std::env::var_os(HOSTILE) {
        let packed = std::fs::File::open(path).expect("a layer");
        let mut reader = LayerReader::new(&format!("{TAR}+zstd"), Limits::default()).expect("a layer");
        let told = feed(&mut reader, packed).and_then(|()| reader.finish().map(|(summary, _)| summary.len()));
        let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        let peak_kib: u64 = peak.expect("it tells the most memory that was held");
        assert!(peak_kib < 256 * 1024, "{told:?} took {peak_kib} KiB");
        return;
    }
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    let names: Vec<u8> = crate::files::noise(24 << 20);
    let names: Vec<String> =
        names.chunks(2000).map(|name| name.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let files: Vec<(String, Vec<u8>)> = names.into_iter().map(|name| (name, Vec::new())).collect();
    std::fs::write(path("names.tar"), crate::support::image::tar(&files)).expect("a file");
    for script in [
        "zstd -q -1 --long=27 -c names.tar > layer",
        "head -c 150M /dev/urandom > f; tar -c f | zstd -q -1 --long=27 > layer",
        "truncate -s 1G f; tar -c f | zstd -q -1 --long=27 > layer",
    ] {
        run(folder.path(), "sh", &["-c", script]);
        let binary = std::env::current_exe().expect("the test binary");
        let story = "archives::the_worst_layers_take_little_memory_and_little_time";
        let limited =
            ["-c", "ulimit -t 30; exec \"$0\" \"$@\"", binary.to_str().expect("text"), story, "--exact", "--nocapture"];
        let output = Command::new("sh").args(limited).env(HOSTILE, path("layer")).output().expect("it starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("1 passed"), "{script}: {}\n{out}{err}", output.status);
    }
}

fn feed(reader: &mut LayerReader, mut packed: std::fs::File) -> Result<(), onetag::inspect::Flaw> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let len = std::io::Read::read(&mut packed, &mut piece).expect("a layer");
        if len == 0 {
            return Ok(());
        }
        reader.feed(&piece[..len])?;
    }
}
