use super::*;
use crate::inspect::probe::Program;
use crate::model::{Machine, Platform, Proof};

/// A layer to be, entry by entry.
#[derive(Default)]
struct Built(Summary);

impl Built {
    fn new() -> Built {
        Built(Summary { is_complete: true, ..Summary::default() })
    }

    fn node(mut self, name: &str, node: Node) -> Built {
        self.0.nodes.insert(name.to_owned(), node);
        self
    }

    fn program(self, name: &str, architecture: &str) -> Built {
        self.node(name, Node::File(true, program(architecture, None)))
    }

    fn dynamic(self, name: &str, architecture: &str, loader: &str) -> Built {
        self.node(name, Node::File(true, program(architecture, Some(loader))))
    }

    fn script(self, name: &str, line: &str) -> Built {
        self.node(name, Node::File(true, Nature::Script(line.to_owned())))
    }

    fn folder(self, name: &str) -> Built {
        self.node(name, Node::Directory)
    }

    fn link(self, name: &str, target: &str) -> Built {
        self.node(name, Node::Symlink(target.to_owned()))
    }

    fn hardlink(self, name: &str, target: &str) -> Built {
        self.node(name, Node::Hardlink(target.to_owned()))
    }

    fn without(mut self, name: &str) -> Built {
        self.0.whiteouts.insert(name.to_owned());
        self
    }

    fn opaque(mut self, name: &str) -> Built {
        self.0.opaque.insert(name.to_owned());
        self
    }

    fn partial(mut self) -> Built {
        self.0.is_complete = false;
        self
    }
}

fn program(architecture: &str, loader: Option<&str>) -> Nature {
    let machine = Machine {
        os: "linux".to_owned(),
        architecture: Some(architecture.to_owned()),
        level: None,
        hard_float: None,
        shown: format!("ELF {architecture}"),
    };
    Nature::Program(Box::new(Program { machine, loader: loader.map(str::to_owned), flaw: None }))
}

fn start(arguments: &[&str]) -> Start {
    Start {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        path: ["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned).to_vec(),
        folder: "/".to_owned(),
        is_windows: false,
        entry_words: 0,
    }
}

/// What an image of these layers, the top one first, is found to be, in short.
fn found(start: &Start, layers: &[Built]) -> String {
    let layers: Vec<Option<&Summary>> = layers.iter().map(|layer| Some(&layer.0)).collect();
    match examine(start, &layers) {
        Answer::Needs { layer, .. } => format!("needs layer {layer}"),
        Answer::Known(Evidence { gap: Some(gap), .. }) => gap,
        Answer::Known(Evidence { witnesses, lacks, .. }) => {
            let told = |w: &Witness| format!("{} {}", w.path, w.machine.architecture.as_deref().unwrap_or("?"));
            let told: Vec<String> = witnesses.iter().map(told).chain(lacks).collect();
            told.join(", ")
        }
    }
}

#[test]
fn a_program_is_found_through_links_of_every_kind() {
    let base = || {
        Built::new()
            .folder("usr")
            .folder("usr/bin")
            .link("bin", "usr/bin")
            .program("usr/bin/busybox", "arm64")
            .link("usr/bin/sh", "../../bin/../bin/busybox")
            .hardlink("usr/bin/ls", "usr/bin/busybox")
            .link("etc/alternatives/vi", "/bin/busybox")
            .link("usr/bin/vi", "/etc/alternatives/vi")
            .link("usr/lib/deep/er/link", "../../../bin/busybox")
            .hardlink("hard", "usr/lib/deep/er/link")
            .link("usr/bin/up", "../../../../../../bin/sh")
    };
    for word in
        ["/bin/busybox", "/bin/sh", "/bin/ls", "ls", "/usr/bin/vi", "vi", "/bin/up", "/hard", "//usr/./bin//../bin/vi"]
    {
        let told = found(&start(&[word]), &[base()]);
        assert!(told.ends_with(" arm64"), "{word}: {told}");
    }
    assert_eq!(found(&start(&["sh"]), &[base()]), "/usr/bin/busybox arm64");
}

#[test]
fn a_link_with_two_names_leads_on_from_the_one_that_was_asked_for() {
    let layer = Built::new().link("usr/bin/app", "../app").hardlink("opt/bin/app", "usr/bin/app");
    let layer = layer.program("usr/app", "amd64").program("opt/app", "arm64");
    let layer = layer.link("lib", "usr/lib").hardlink("lib64", "lib").program("usr/lib/run", "s390x");
    assert_eq!(found(&start(&["/lib64/run"]), std::slice::from_ref(&layer)), "/usr/lib/run s390x");
    assert_eq!(found(&start(&["/usr/bin/app"]), std::slice::from_ref(&layer)), "/usr/app amd64");
    assert_eq!(found(&start(&["/opt/bin/app"]), &[layer]), "/opt/app arm64");
}

#[test]
fn links_that_lead_in_circles_are_given_up() {
    let layer = Built::new().link("a", "b").link("b", "/a").link("c", "c/c").hardlink("d", "e").hardlink("e", "d");
    let told = found(&start(&["/a"]), &[layer]);
    assert_eq!(told, "`/a` leads through more than 40 links");
    let deep = Built::new().link("c", "c/c");
    assert!(found(&start(&["/c/x"]), &[deep]).contains("more than 40 links"));
    let hard = Built::new().hardlink("d", "e").hardlink("e", "d");
    assert!(found(&start(&["/d"]), &[hard]).contains("more than 40 links"));
}

#[test]
fn the_top_layer_that_says_anything_decides() {
    let base = || Built::new().folder("app").program("app/run", "amd64").program("bin/sh", "amd64");
    let start = start(&["/app/run"]);
    assert_eq!(found(&start, &[Built::new().program("app/run", "arm64"), base()]), "/app/run arm64");
    assert_eq!(found(&start, &[Built::new(), base()]), "/app/run amd64");
    let missing = "`/app/run`, which the image starts, is in none of its layers";
    for top in [
        Built::new().without("app/run"),
        Built::new().without("app"),
        Built::new().folder("app").opaque("app"),
        Built::new().opaque(""),
        Built::new().node("app", Node::Special),
        Built::new().link("app", "/nowhere"),
    ] {
        assert_eq!(found(&start, &[top, base()]), missing);
    }
    let again = Built::new().without("app/run").program("app/run", "arm64");
    assert_eq!(found(&start, &[again, base()]), "/app/run arm64", "a layer takes away from those below it only");
}

#[test]
fn a_folder_takes_the_place_of_a_link_and_an_implied_one_does_not() {
    let base = || Built::new().link("bin", "usr/bin").program("usr/bin/sh", "amd64");
    let start = start(&["/bin/sh"]);
    assert_eq!(found(&start, &[Built::new().program("bin/tool", "arm64"), base()]), "/usr/bin/sh amd64");
    assert!(found(&start, &[Built::new().folder("bin"), base()]).contains("in none of its layers"));
    assert_eq!(found(&start, &[Built::new().program("bin/sh", "arm64"), base()]), "/bin/sh arm64");
}

#[test]
fn a_command_is_looked_for_in_path_and_in_its_own_folder() {
    let layer = || {
        Built::new()
            .node("usr/local/bin/tool", Node::File(false, Nature::Data))
            .folder("usr/bin/tool")
            .program("bin/tool", "arm64")
            .program("srv/tool", "riscv64")
    };
    assert_eq!(found(&start(&["tool"]), &[layer()]), "/bin/tool arm64");
    let here = Start { folder: "/srv".to_owned(), ..start(&["./tool"]) };
    assert_eq!(found(&here, &[layer()]), "/srv/tool riscv64");
    let dotted = Start { path: vec![String::new()], ..Start { folder: "/srv".to_owned(), ..start(&["tool"]) } };
    assert_eq!(found(&dotted, &[layer()]), "/srv/tool riscv64");
    assert!(found(&start(&["other"]), &[layer()]).contains("in none of its layers"));
}

#[test]
fn what_is_stored_in_parts_is_not_passed_over() {
    let layer =
        || Built::new().node("usr/bin/tool", Node::Special).program("bin/tool", "arm64").program("bin/sh", "arm64");
    for words in [&["tool"][..], &["/usr/bin/tool"], &["sh", "-c", "tool"]] {
        assert_eq!(
            found(&start(words), &[layer()]),
            "`/usr/bin/tool`, which the image starts, is a device, or a file of which only parts are stored"
        );
    }
}

#[test]
fn a_loader_of_which_only_parts_are_stored_is_not_said_to_be_missing() {
    let layer = Built::new().dynamic("app", "arm64", "/lib/ld.so").node("lib/ld.so", Node::Special);
    assert_eq!(
        found(&start(&["/app"]), &[layer]),
        "`/lib/ld.so`, which loads /app, is a device, or a file of which only parts are stored"
    );
}

#[test]
fn a_script_is_as_good_as_what_reads_it() {
    let layer = || {
        Built::new()
            .script("entry", " /bin/sh -e")
            .script("python", "/usr/bin/env -S LC_ALL=C python3 -u")
            .script("twice", "/entry")
            .script("endless", "/endless")
            .script("empty", "")
            .script("lost", "/bin/nowhere")
            .program("bin/sh", "arm64")
            .program("usr/bin/python3", "s390x")
    };
    assert_eq!(
        found(&start(&["/python"]), &[layer().program("usr/bin/env", "s390x")]),
        "/usr/bin/python3 s390x, /usr/bin/env s390x"
    );
    assert_eq!(
        found(&start(&["/twice"]), &[Built::new().script("twice", "/bin/sh").program("bin/sh", "arm64")]),
        "/bin/sh arm64"
    );
    assert!(found(&start(&["/endless"]), &[layer()]).contains("without end"));
    assert!(found(&start(&["/empty"]), &[layer()]).contains("does not say by what"));
    assert_eq!(
        found(&start(&["/lost"]), &[layer()]),
        "`/bin/nowhere`, which reads the script `/lost`, is in none of its layers"
    );
}

#[test]
fn a_script_that_asks_env_for_its_interpreter_needs_both() {
    let layer = || Built::new().script("run", "/usr/bin/env python3").program("usr/bin/python3", "arm64");
    assert_eq!(
        found(&start(&["/run"]), &[layer().link("usr/bin/env", "busybox").program("usr/bin/busybox", "amd64")]),
        "/usr/bin/python3 arm64, /usr/bin/busybox amd64"
    );
    assert_eq!(
        found(&start(&["/run"]), &[layer()]),
        "/usr/bin/python3 arm64, it is started by /usr/bin/env, and the image does not have that"
    );
    let one = Built::new().script("run", "/bin/env sh").program("bin/busybox", "arm64");
    let one = one.link("bin/env", "busybox").link("bin/sh", "busybox");
    assert_eq!(found(&start(&["/run"]), &[one]), "/bin/busybox arm64", "one program is one witness");
}

#[test]
fn a_shell_that_becomes_another_program_is_needed_and_does_not_decide() {
    let layer = || Built::new().program("bin/sh", "amd64").program("usr/bin/tool", "arm64");
    assert_eq!(found(&start(&["/bin/sh", "-c", "exec tool --all"]), &[layer()]), "/usr/bin/tool arm64, /bin/sh amd64");
    assert_eq!(found(&start(&["/bin/sh", "-c", "cd / && exec tool"]), &[layer()]), "/bin/sh amd64");
    assert_eq!(found(&start(&["/bin/sh", "-c", "exec $TOOL"]), &[layer()]), "/bin/sh amd64");
    assert_eq!(found(&start(&["/bin/sh", "script"]), &[layer()]), "/bin/sh amd64");
    let lone = Built::new().program("usr/bin/tool", "arm64");
    assert_eq!(
        found(&start(&["/bin/sh", "-c", "exec tool"]), &[lone]),
        "/usr/bin/tool arm64, it is started by /bin/sh, and the image does not have that"
    );
}

#[test]
fn the_program_that_a_shell_starts_first_decides_where_that_is_plain() {
    let layer =
        || Built::new().program("bin/sh", "arm64").program("app/server", "amd64").program("usr/bin/tool", "amd64");
    let told = |script: &str| found(&start(&["/bin/sh", "-c", script]), &[layer()]);
    for script in ["/app/server --flag", "exec /app/server $FLAGS", "A=b C=/d /app/server && true", "  ./app/server"] {
        assert_eq!(told(script), "/app/server amd64, /bin/sh arm64", "{script}");
    }
    assert_eq!(told("tool | cat"), "/usr/bin/tool amd64, /bin/sh arm64");
    assert_eq!(told("exec tini -- tool"), "/bin/sh arm64", "there is no tini");
    for script in
        ["cd /app && ./server", "if true; then /app/server; fi", "$APP", "\"/app/server\"", "PATH=/app server", ""]
    {
        assert_eq!(told(script), "/bin/sh arm64", "{script}");
    }
    for options in [&["-o", "pipefail", "-c"][..], &["-euxo", "pipefail", "-c"], &["-e", "-l", "-c"], &["-cx"]] {
        let words = [&["/bin/sh"], options, &["/app/server"]].concat();
        assert_eq!(found(&start(&words), &[layer()]), "/app/server amd64, /bin/sh arm64", "{options:?}");
    }
}

#[test]
fn what_a_shell_starts_and_the_image_does_not_have_is_left_to_the_shell() {
    let layer = || {
        Built::new().program("bin/sh", "arm64").node("app/text", Node::File(true, Nature::Data)).folder("app/folder")
    };
    for script in ["/mnt/app --flag", "exec /mnt/app", "later", "/app/text", "/app/folder"] {
        assert_eq!(found(&start(&["sh", "-c", script]), &[layer()]), "/bin/sh arm64", "{script}");
    }
}

#[test]
fn an_init_and_the_program_behind_it_must_both_fit() {
    let layer = || {
        let inits = ["tini", "usr/bin/dumb-init", "usr/bin/catatonit", "sbin/docker-init"];
        let layer = Built::new().program("app", "arm64").program("bin/sh", "arm64");
        inits.iter().fold(layer, |layer, init| layer.program(init, "amd64"))
    };
    for words in [
        &["/tini", "--", "/app"][..],
        &["/tini", "-g", "-e", "143", "--", "/app"],
        &["/tini", "-vg", "/app", "-x"],
        &["dumb-init", "--rewrite", "15:3", "/app"],
        &["dumb-init", "--single-child", "--rewrite=15:3", "--", "/app"],
        &["catatonit", "-g", "--", "/app"],
        &["/sbin/docker-init", "--", "/app"],
    ] {
        let told = found(&start(words), &[layer()]);
        assert!(told.starts_with("/app arm64, ") && told.ends_with(" amd64"), "{words:?}: {told}");
    }
    assert_eq!(
        found(&start(&["/tini", "--", "sh", "-c", "exec /app"]), &[layer()]),
        "/app arm64, /bin/sh arm64, /tini amd64"
    );
    for words in [&["/tini"][..], &["/tini", "--"], &["/tini", "--new", "1", "/app"], &["/tini", "--", "/mnt/app"]] {
        assert_eq!(found(&start(words), &[layer()]), "/tini amd64", "{words:?}");
    }
}

#[test]
fn a_program_that_the_command_gives_to_a_script_is_looked_at_too() {
    let layer = || {
        let layer = Built::new().script("entry.sh", "/bin/sh").program("bin/sh", "arm64").program("app", "amd64");
        layer.dynamic("usr/bin/tool", "arm64", "/lib/ld.so").program("tini", "arm64").script("usr/bin/npm", "/app -x")
    };
    let told = |entry_point: &[&str], command: &[&str]| {
        let words = [entry_point, command].concat();
        found(&Start { entry_words: entry_point.len(), ..start(&words) }, &[layer()])
    };
    assert_eq!(told(&["/entry.sh"], &["/app", "--serve"]), "/bin/sh arm64, /app amd64");
    assert_eq!(told(&["/tini", "--", "/entry.sh"], &["npm", "start"]), "/bin/sh arm64, /tini arm64, /app amd64");
    assert_eq!(
        told(&["/entry.sh"], &["tool"]),
        "/bin/sh arm64, /usr/bin/tool arm64",
        "it may be for the script to say"
    );
    assert_eq!(told(&["/entry.sh"], &["/bin/sh", "-c", "/app --serve"]), "/bin/sh arm64, /app amd64");
    for command in [&["--serve"][..], &["serve"], &["/mnt/app"], &[]] {
        assert_eq!(told(&["/entry.sh"], command), "/bin/sh arm64", "{command:?}");
    }
    assert_eq!(told(&["/entry.sh", "run"], &["/app"]), "/bin/sh arm64", "it is the script's second word");
    assert_eq!(told(&[], &["/entry.sh", "/app"]), "/bin/sh arm64", "it may be a file to work on");
    assert_eq!(told(&["/bin/sh"], &["/app"]), "/bin/sh arm64", "what a program makes of its words is its own affair");
}

#[test]
fn the_loader_is_a_witness_and_its_absence_is_noticed() {
    let loader = "/lib/ld-linux-aarch64.so.1";
    let app = || Built::new().dynamic("app", "arm64", loader);
    let base = Built::new().link("lib", "usr/lib").program("usr/lib/ld-linux-aarch64.so.1", "arm64");
    assert_eq!(found(&start(&["/app"]), &[app(), base]), "/app arm64, /usr/lib/ld-linux-aarch64.so.1 arm64");
    let foreign = Built::new().program("lib64/ld-linux-x86-64.so.2", "amd64");
    assert_eq!(
        found(&start(&["/app"]), &[app(), foreign]),
        "/app arm64, /app needs /lib/ld-linux-aarch64.so.1 to start, and the image does not have it"
    );
}

#[test]
fn an_image_that_starts_nothing_is_weighed_by_its_shell_or_its_programs() {
    let nothing = start(&[]);
    assert_eq!(
        found(&nothing, &[Built::new().link("bin/sh", "busybox").program("bin/busybox", "arm64")]),
        "/bin/busybox arm64"
    );
    let data = Built::new().node("data", Node::File(false, Nature::Data)).program("usr/share/x/testbin", "386");
    assert_eq!(found(&nothing, &[data]), "", "an image of data proves nothing");
    let tools = || Built::new().program("opt/a", "arm64").program("opt/b", "arm64").program("go/testdata/c", "386");
    assert_eq!(found(&nothing, &[tools()]), "/opt/a arm64");
    assert!(found(&nothing, &[tools().program("opt/c", "amd64")]).contains("programs for several machines"));
    let gone = [Built::new().without("opt/c"), tools().program("opt/c", "amd64")];
    assert_eq!(found(&nothing, &gone), "/opt/a arm64");
    let emulator = || Built::new().program("usr/bin/qemu-aarch64-static", "amd64");
    assert_eq!(found(&nothing, &[emulator().program("opt/a", "arm64")]), "/opt/a arm64");
    assert_eq!(found(&nothing, &[emulator()]), "/usr/bin/qemu-aarch64-static amd64");
}

#[test]
fn files_that_nobody_looked_into_may_be_programs() {
    let nothing = start(&[]);
    let unread = |name: &str, is_executable| Built::new().node(name, Node::File(is_executable, Nature::Unread));
    assert_eq!(found(&nothing, &[Built::new(), unread("opt/tool", true)]), "needs layer 1");
    assert_eq!(found(&nothing, &[unread("opt/words", false)]), "");
    assert_eq!(found(&nothing, &[unread("usr/share/tool", true)]), "");
    assert_eq!(found(&nothing, &[Built::new().without("opt/tool"), unread("opt/tool", true)]), "");
}

#[test]
fn a_program_counts_under_each_of_its_names() {
    let layer = Built::new().program("usr/share/app", "arm64").hardlink("app", "usr/share/app");
    assert_eq!(found(&start(&[]), &[layer]), "/app arm64");
}

#[test]
fn an_emulator_that_the_image_starts_is_needed_and_does_not_decide() {
    let layer = || Built::new().program("bin/sh", "arm").program("app", "arm");
    let emulated = |script: &str| start(&["/usr/bin/qemu-arm-static", "-execve", "/bin/sh", "-c", script]);
    let with_it = || layer().program("usr/bin/qemu-arm-static", "amd64");
    assert_eq!(found(&emulated("true"), &[with_it()]), "/bin/sh arm, /usr/bin/qemu-arm-static amd64");
    assert_eq!(found(&emulated("/app"), &[with_it()]), "/app arm, /bin/sh arm, /usr/bin/qemu-arm-static amd64");
    assert_eq!(
        found(&emulated("true"), &[layer()]),
        "/bin/sh arm, it is started by /usr/bin/qemu-arm-static, and the image does not have that"
    );
    assert_eq!(found(&start(&["/bin/sh"]), &[with_it()]), "/bin/sh arm", "one that only lies there says nothing");
}

#[test]
fn a_layer_is_asked_for_only_when_it_could_say_something_else() {
    let start = start(&["/app/run"]);
    let top = Built::new().program("app/run", "arm64");
    assert_eq!(
        examine(&start, &[Some(&top.0), None]),
        examine(&start, &[Some(&top.0)]),
        "what the top layer has is not looked for below"
    );
    let Answer::Needs { layer, names, .. } = examine(&start, &[Some(&Built::new().0), None]) else {
        panic!("it is needed")
    };
    assert_eq!((layer, names), (1, vec!["app".to_owned(), "app/run".to_owned()]));
    assert_eq!(found(&start, &[Built::new().partial(), top]), "needs layer 0", "the rest of it could have one");
    assert_eq!(found(&start, &[Built::new().program("app/run", "arm64").partial()]), "/app/run arm64");
}

#[test]
fn what_was_seen_is_told_along_with_what_is_needed() {
    let top = Built::new().dynamic("app", "amd64", "/lib/ld.so");
    let Answer::Needs { layer, seen, .. } = examine(&start(&["/app"]), &[Some(&top.0), None]) else { panic!("needed") };
    assert_eq!((layer, seen.witnesses[0].path.as_str()), (1, "/app"));
}

#[test]
fn a_program_that_cannot_be_loaded_as_it_says_is_a_witness_and_no_proof() {
    let Nature::Program(mut program) = program("amd64", None) else { panic!("a program") };
    program.flaw = Some("an ELF file whose loader's name cannot be read".to_owned());
    let layer = Built::new().node("app", Node::File(true, Nature::Program(program)));
    let Answer::Known(evidence) = examine(&start(&["/app"]), &[Some(&layer.0)]) else { panic!("known") };
    let judge = |platform: &str| evidence.judge(&platform.parse::<Platform>().expect("a platform"));
    assert!(matches!(judge("linux/arm64"), Proof::Mismatch(_)));
    let why = "`/app`, which the image starts, is an ELF file whose loader's name cannot be read";
    assert_eq!(judge("linux/amd64"), Proof::Unverifiable(why.to_owned()));
}

#[test]
fn windows_programs_are_found_by_any_spelling() {
    let windows = |arguments: &[&str]| Start {
        is_windows: true,
        path: vec!["C:\\Tools".to_owned()],
        folder: "C:\\app".to_owned(),
        ..start(arguments)
    };
    let layer = || {
        Built::new()
            .folder("Files")
            .program("Files/App/Server.exe", "amd64")
            .program("Files/App/My Server.exe", "amd64")
            .program("Files/Windows/System32/cmd.exe", "amd64")
            .program("Files/tools/x.exe", "arm64")
    };
    for words in [
        &["C:\\App\\Server.exe"][..],
        &["server"],
        &["SERVER.EXE"],
        &["c:/app/server.exe", "-x"],
        &["cmd", "/S", "/C", "dir"],
        &["cmd /S /C dir"],
        &["c:\\app\\server.exe -x"],
        &["\"C:\\App\\My Server.exe\" -x \"a b\""],
        &["C:\\App\\My Server.exe"],
        &[],
    ] {
        let told = found(&windows(words), &[layer()]);
        assert!(told.ends_with(" amd64"), "{words:?}: {told}");
    }
    assert_eq!(found(&windows(&["x"]), &[layer()]), "/Tools/x.exe arm64");
    let told = found(&windows(&["server"]), &[Built::new().without("Files/app"), layer()]);
    assert!(told.contains("in none of its layers"), "{told}");
}

proptest::proptest! {
    #[test]
    fn no_layers_make_it_panic(
        nodes in proptest::collection::vec((0usize..3, "(a|b|c/)?(a|b)(/a)?", 0u8..7, "[/.]{0,3}(a|b)?/?(a|b|\\.\\.)?/?[ab]?"), 0..12),
        word in "[/.]{0,3}(a|b)?/?(a|b)?(/a)?",
        is_windows in proptest::bool::ANY,
    ) {
        let mut layers = [Built::new(), Built::new(), Built::new()];
        for (layer, name, kind, target) in nodes {
            let built = std::mem::take(&mut layers[layer]);
            layers[layer] = match kind {
                0 => built.program(&name, "arm64"),
                1 => built.folder(&name),
                2 => built.link(&name, &target),
                3 => built.hardlink(&name, &target),
                4 => built.script(&name, &target),
                5 => built.without(&name),
                _ => built.opaque(&name),
            };
        }
        for words in [&[word.as_str()][..], &["/bin/sh", "-c", "exec a"], &["tini", "--", "a", &word], &[]] {
            found(&Start { is_windows, entry_words: 1, ..start(words) }, &layers);
        }
    }
}

/// What such an image is found to be, without its long names, and that it did not take long.
fn soon(start: &Start, layers: &[Built]) -> String {
    let begun = std::time::Instant::now();
    let told = found(start, layers);
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
    told.chars().skip_while(|c| *c != '`').skip(1).skip_while(|c| *c != '`').skip(2).take(60).collect()
}

#[test]
fn a_path_that_is_longer_than_linux_takes_is_given_up() {
    // Each time the link is followed, as much is added to the path.
    let target = |len: usize| format!("c{}", "/x".repeat(len / 2));
    let growing = Built::new().link("c", &target(4094));
    assert_eq!(soon(&start(&["/c"]), &[growing]), "leads to a path of more than 4096 bytes");
    let word = format!("/{}", "x/".repeat(3000));
    assert_eq!(soon(&start(&[&word]), &[Built::new()]), "leads to a path of more than 4096 bytes");
    let fitting = format!("/{}run", "./".repeat(2000));
    assert_eq!(found(&start(&[&fitting]), &[Built::new().program("run", "arm64")]), "/run arm64");
}

#[test]
fn what_looks_for_one_name_without_end_is_given_up() {
    // A long name in each folder of a long list, in many layers.
    let folders: Vec<String> = (0..60).map(|number| format!("/{number}{}", "/x".repeat(1900))).collect();
    let start_in = |path: Vec<String>| Start { path, ..start(&["tool"]) };
    let layers: Vec<Built> = (0..120).map(|_| Built::new().folder("x")).collect();
    let told = found(&start_in(folders.clone()), &layers[..1]);
    assert!(told.contains("in none of its layers"), "{told}");
    assert_eq!(found(&start_in(folders), &layers), "finding what the image starts takes too long");

    let up = format!("/a{}", "/../a".repeat(800));
    let links = Built::new().link("a", &up[..4000]);
    assert!(soon(&start(&[&up]), &[links]).contains("more than 40 links"));
}

#[test]
fn folders_are_looked_through_as_far_as_anybody_lists_them() {
    let folders = |count: usize| (0..count).map(|number| format!("/{number}")).chain(["/bin".to_owned()]).collect();
    let in_many = |count| Start { path: folders(count), ..start(&["tool"]) };
    let layers = [Built::new().program("bin/tool", "arm64")];
    assert_eq!(found(&in_many(255), &layers), "/bin/tool arm64");
    assert_eq!(
        found(&in_many(256), &layers),
        "`tool`, which the image starts, is not in the first 256 folders of its PATH"
    );
}

#[test]
fn what_is_found_is_judged_as_a_whole() {
    let layers = [Built::new().program("bin/sh", "amd64").program("usr/bin/tool", "arm64")];
    let layers: Vec<Option<&Summary>> = layers.iter().map(|layer| Some(&layer.0)).collect();
    let Answer::Known(evidence) = examine(&start(&["/bin/sh", "-c", "exec tool"]), &layers) else { panic!("known") };
    let judge = |platform: &str| evidence.judge(&platform.parse::<Platform>().expect("a platform"));
    assert!(matches!(judge("linux/arm64"), Proof::Mixed(_)));
    assert!(matches!(judge("linux/amd64"), Proof::Mismatch(_)));
}
