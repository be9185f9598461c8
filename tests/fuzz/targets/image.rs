//! Makes an image of any bytes, and wants one answer from it however its layers are read: all of
//! them, one after the other, in part, or unpacked above each other into a single one.
//!
//! Each layer is as builders make them: nothing stands in it twice, and every folder by itself.

use std::collections::{BTreeMap, BTreeSet};

use onetag::inspect::{Answer, LayerReader, Limits, Start, Summary, examine, read_start};
use onetag::model::Evidence;

const PLACES: [&str; 16] = [
    "bin",
    "bin/sh",
    "bin/app",
    "usr",
    "usr/bin",
    "usr/bin/sh",
    "usr/bin/app",
    "lib",
    "lib/ld",
    "usr/lib",
    "usr/lib/ld",
    "a",
    "a/b",
    "a/b/app",
    "a/qemu-arm-static",
    "usr/share/app",
];
const STARTS: [&str; 9] = [
    r#"{"config":{"Entrypoint":["/bin/app"]}}"#,
    r#"{"config":{"Entrypoint":["app"],"Env":["PATH=/a/b:/usr/bin::/bin"],"WorkingDir":"/a"}}"#,
    r#"{"config":{"Entrypoint":["./b/../../usr/bin/app"],"WorkingDir":"/a/b"}}"#,
    r#"{"config":{"Cmd":["sh","-ec","exec app --serve"]}}"#,
    r#"{"config":{"Cmd":["/a/qemu-arm-static","-0","x","/bin/app"]}}"#,
    r#"{"config":{"Cmd":["/a/b"]}}"#,
    "{}",
    r#"{"config":{"Entrypoint":["/a/b/app/../app"]}}"#,
    r#"{"config":{"Entrypoint":["/a/b/app"],"Cmd":["sh","-c","app --serve"]}}"#,
];
/// The most layers, and the most that stands in all of them.
const MOST_LAYERS: usize = 8;
const MOST_THINGS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Folder,
    Link(String),
    /// The same file as another of the layer, by its place.
    Hardlink(String),
    /// Its machine, and whether it needs a loader.
    Program(u16, bool),
    Script(String),
    Data,
    Pipe,
}

#[derive(Default)]
struct Layer {
    things: BTreeMap<String, Thing>,
    whiteouts: BTreeSet<String>,
    opaque: BTreeSet<String>,
}

/// The first byte says what is started, and three others each time what stands in a layer.
pub(crate) fn examine_in_every_way(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let start = read_start(STARTS[usize::from(first) % STARTS.len()].as_bytes()).expect("a config");
    let layers = layers(rest);
    let archives: Vec<Vec<u8>> = layers.iter().map(Layer::archive).collect();
    let summaries: Vec<Summary> = archives.iter().rev().map(|archive| read(archive, archive.len())).collect();
    let known: Vec<Option<&Summary>> = summaries.iter().map(Some).collect();
    let Answer::Known(expected) = examine(&start, &known) else { panic!("a layer that is known was asked for") };

    assert_eq!(one_by_one(&start, &summaries), expected, "from the top");

    let cut = usize::from(first) * 512;
    let parts: Vec<Summary> = archives.iter().rev().map(|archive| read(archive, cut.min(archive.len()))).collect();
    for layer in 0..parts.len() {
        let mut known = known.clone();
        known[layer] = Some(&parts[layer]);
        match examine(&start, &known) {
            Answer::Needs { layer: needed, .. } => assert_eq!(needed, layer),
            Answer::Known(found) => assert_eq!(found, expected, "from {cut} bytes of layer {layer}"),
        }
    }

    let unpacked = read(&unpacked(&layers).archive(), usize::MAX);
    assert_eq!(one_by_one(&start, &[unpacked]), expected, "unpacked");
}

/// What is found where only those layers are read that are asked for.
fn one_by_one(start: &Start, layers: &[Summary]) -> Evidence {
    let mut known = vec![None; layers.len()];
    loop {
        match examine(start, &known) {
            Answer::Known(evidence) => return evidence,
            Answer::Needs { layer, .. } => assert!(known[layer].replace(&layers[layer]).is_none(), "it was there"),
        }
    }
}

fn read(archive: &[u8], len: usize) -> Summary {
    let mut reader = LayerReader::new("application/vnd.oci.image.layer.v1.tar", Limits::default()).expect("a layer");
    reader.feed(&archive[..len.min(archive.len())]).expect("a good archive");
    if len < archive.len() { reader.stop().0 } else { reader.finish().expect("a whole archive").0 }
}

fn layers(data: &[u8]) -> Vec<Layer> {
    let mut layers = vec![Layer::default()];
    for step in data.chunks_exact(3).take(MOST_THINGS) {
        let &[kind, place, target] = step else { unreachable!("there are three") };
        if kind % 12 == 0 && layers.len() < MOST_LAYERS {
            layers.push(Layer::default());
        }
        let layer = layers.last_mut().expect("there is one");
        let place = PLACES[usize::from(place) % PLACES.len()];
        match kind % 12 {
            1 => layer.put(place, Thing::Folder),
            2 | 3 => layer.put(place, Thing::Link(path(target))),
            4 => {
                let target = PLACES[usize::from(target) % PLACES.len()];
                if !matches!(layer.things.get(target), None | Some(Thing::Folder | Thing::Hardlink(_))) {
                    layer.put(place, Thing::Hardlink(target.to_owned()));
                }
            }
            5 => layer.put(place, Thing::Program(62, target % 2 == 1)),
            6 => layer.put(place, Thing::Program(183, target % 2 == 1)),
            7 => layer.put(place, Thing::Script(path(target))),
            8 => layer.put(place, if target % 2 == 1 { Thing::Data } else { Thing::Pipe }),
            9 | 10 if layer.has_folders_of(place) => drop(layer.whiteouts.insert(place.to_owned())),
            11 if target == 0 => drop(layer.opaque.insert(String::new())),
            11 => {
                layer.put(place, Thing::Folder);
                if layer.things.get(place) == Some(&Thing::Folder) {
                    layer.opaque.insert(place.to_owned());
                }
            }
            _ => {}
        }
    }
    layers
}

/// Where a link or a script leads.
fn path(byte: u8) -> String {
    let place = PLACES[usize::from(byte) % PLACES.len()];
    let before =
        ["/", "", "../", "../../", "/a/../", "./b/", "../bin/../", "/usr/"][usize::from(byte) / PLACES.len() % 8];
    format!("{before}{place}")
}

impl Layer {
    /// Puts something in a place where nothing is, if that is possible.
    fn put(&mut self, place: &str, thing: Thing) {
        if !self.things.contains_key(place) && self.has_folders_of(place) {
            self.things.insert(place.to_owned(), thing);
        }
    }

    /// Makes the folders above a place, if none of them is something else.
    fn has_folders_of(&mut self, place: &str) -> bool {
        let folders = place.match_indices('/').map(|(at, _)| &place[..at]);
        folders
            .into_iter()
            .all(|folder| *self.things.entry(folder.to_owned()).or_insert(Thing::Folder) == Thing::Folder)
    }

    fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        let is_hardlink = |thing: &Thing| matches!(thing, Thing::Hardlink(_));
        let things = || self.things.iter();
        for (place, thing) in
            things().filter(|(_, thing)| !is_hardlink(thing)).chain(things().filter(|(_, thing)| is_hardlink(thing)))
        {
            match thing {
                Thing::Folder => entry(&mut archive, place, b'5', "", &[]),
                Thing::Link(target) => entry(&mut archive, place, b'2', target, &[]),
                Thing::Hardlink(target) => entry(&mut archive, place, b'1', target, &[]),
                Thing::Program(machine, is_dynamic) => {
                    entry(&mut archive, place, b'0', "", &program(*machine, *is_dynamic))
                }
                Thing::Script(by) => entry(&mut archive, place, b'0', "", format!("#!{by} -x\n").as_bytes()),
                Thing::Data => entry(&mut archive, place, b'0', "", b"data"),
                Thing::Pipe => entry(&mut archive, place, b'6', "", &[]),
            }
        }
        for place in &self.whiteouts {
            let (folder, name) = place.rsplit_once('/').map_or(("", place.as_str()), |(folder, name)| (folder, name));
            entry(&mut archive, &format!("{folder}/.wh.{name}"), b'0', "", &[]);
        }
        for place in &self.opaque {
            entry(&mut archive, &format!("{place}/.wh..wh..opq"), b'0', "", &[]);
        }
        archive.resize(archive.len() + 1024, 0);
        archive
    }
}

/// One layer that holds what is left of all of them, the lowest first.
fn unpacked(layers: &[Layer]) -> Layer {
    let mut whole: BTreeMap<String, Thing> = BTreeMap::new();
    for Layer { things, whiteouts, opaque } in layers {
        for place in whiteouts {
            whole.remove(place);
            empty(&mut whole, place);
        }
        opaque.iter().for_each(|place| empty(&mut whole, place));
        for (place, thing) in things {
            let thing = match thing {
                Thing::Hardlink(target) => &things[target],
                thing => thing,
            };
            if *thing != Thing::Folder {
                empty(&mut whole, place);
            }
            whole.insert(place.clone(), thing.clone());
        }
    }
    Layer { things: whole, ..Layer::default() }
}

/// Removes what is in a folder.
fn empty(things: &mut BTreeMap<String, Thing>, folder: &str) {
    let inside = format!("{folder}/");
    things.retain(|place, _| !(folder.is_empty() || place.starts_with(&inside)));
}

fn entry(archive: &mut Vec<u8>, name: &str, kind: u8, link: &str, content: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// A program of 64 bits with one segment, or two.
fn program(machine: u16, is_dynamic: bool) -> Vec<u8> {
    const LOADER: &[u8] = b"/lib/ld\0";
    let segments: &[u32] = if is_dynamic { &[1, 3] } else { &[1] };
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    let mut put = |at: usize, number: u16| elf[at..at + 2].copy_from_slice(&number.to_le_bytes());
    for (at, number) in [(16, 2), (18, machine), (32, 64), (54, 56), (56, segments.len() as u16)] {
        put(at, number);
    }
    let end = (64 + 56 * segments.len()) as u64;
    for kind in segments {
        elf.extend(kind.to_le_bytes());
        elf.extend([0; 4]);
        elf.extend(end.to_le_bytes());
        elf.extend([0; 16]);
        elf.extend((LOADER.len() as u64).to_le_bytes());
        elf.extend([0; 16]);
    }
    elf.extend(LOADER);
    elf
}
