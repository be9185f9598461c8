//! The ways to make one index of seven images: ours, and those of every other tool found on PATH.
//!
//! Each tool gets the shortest way that its documentation offers: one command where one is enough,
//! all images at once, no copying of blobs, no TLS, no login. `skopeo` is not among them: it copies
//! indexes and makes none.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{IMAGES, REPOSITORY};

/// What `$HOME` in an argument or file becomes: a folder that is new for every run.
pub(crate) const HOME: &str = "$HOME";

/// One way to do the job.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// As it says itself, on one line.
    pub(crate) version: String,
    /// Programs with their arguments, one after the other.
    pub(crate) steps: Vec<Vec<String>>,
    /// A file in `$HOME` that one of them reads.
    pub(crate) file: Option<(&'static str, String)>,
}

/// A tool that may be there.
struct Known {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    steps: Steps,
    file: Option<(&'static str, Content)>,
}

type Steps = fn(&Job) -> Vec<Vec<String>>;
type Content = fn(&Job) -> String;

/// Where the images are, as a tool is told.
struct Job {
    repository: String,
}

impl Job {
    fn target(&self) -> String {
        format!("{}:xenial", self.repository)
    }

    fn host(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }

    fn images(&self) -> impl Iterator<Item = String> {
        IMAGES.iter().map(|(word, _)| format!("{}:{word}-xenial", self.repository))
    }
}

const KNOWN: [Known; 8] = [
    Known::new("crane", "crane", "version", crane),
    Known::new("regctl", "regctl", "version", regctl),
    Known::new("manifest-tool", "manifest-tool", "--version", manifest_tool).reading("spec.yaml", manifest_tool_spec),
    Known::new("docker buildx", "docker-buildx", "version", buildx),
    Known::new("docker manifest", "docker", "--version", docker),
    Known::new("oras", "oras", "version", oras),
    Known::new("buildah", "buildah", "--version", buildah).reading("registries.conf", plain_http),
    Known::new("podman", "podman", "--version", podman).reading("registries.conf", plain_http),
];

impl Known {
    const fn new(name: &'static str, program: &'static str, version: &'static str, steps: Steps) -> Known {
        Known { name, program, version, steps, file: None }
    }

    const fn reading(self, name: &'static str, content: Content) -> Known {
        Known { file: Some((name, content)), ..self }
    }
}

/// Our own two ways; `binary` is what is measured.
pub(crate) fn ours(binary: &Path, host: &str) -> [Tool; 2] {
    let repository = format!("{host}/{REPOSITORY}");
    let publish = |more: &[&str]| {
        let program = binary.display().to_string();
        let mut step = command(&program, &["publish", "-r", &repository, "--tag", "xenial", "--output", "json"]);
        step.extend(more.iter().map(|argument| (*argument).to_owned()));
        vec![step]
    };
    let words: Vec<&str> = IMAGES.iter().map(|(word, _)| *word).collect();
    let version = version_of(binary, "--version");
    let tool = |name, steps| Tool { name, version: version.clone(), steps, file: None };
    [tool("onetag, with --arch", publish(&["--arch", &words.join(",")])), tool("onetag, listing tags", publish(&[]))]
}

/// The other tools that are here, and the names of those that are not.
pub(crate) fn others(host: &str) -> (Vec<Tool>, Vec<&'static str>) {
    let job = Job { repository: format!("{host}/{REPOSITORY}") };
    let (mut tools, mut missing) = (Vec::new(), Vec::new());
    for known in KNOWN {
        let Some(program) = find(known.program) else {
            missing.push(known.name);
            continue;
        };
        let mut steps = (known.steps)(&job);
        for step in &mut steps {
            step.insert(0, program.display().to_string());
        }
        let file = known.file.map(|(name, content)| (name, content(&job)));
        tools.push(Tool { name: known.name, version: version_of(&program, known.version), steps, file });
    }
    (tools, missing)
}

/// Looks in PATH, and where Docker keeps its plugins, which can be run by themselves.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::home_dir().unwrap_or_default();
    let plugins = ["/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"];
    std::env::split_paths(&path)
        .chain([home.join(".docker/cli-plugins")])
        .chain(plugins.map(|folder| Path::new(folder).join("docker/cli-plugins")))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn version_of(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()));
    line.unwrap_or("says no version").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn command(first: &str, rest: &[&str]) -> Vec<String> {
    [first].iter().chain(rest).map(|argument| (*argument).to_owned()).collect()
}

fn crane(job: &Job) -> Vec<Vec<String>> {
    let mut append = command("index", &["append", "--insecure"]);
    append.extend(job.images().flat_map(|image| ["-m".to_owned(), image]));
    append.extend(["-t".to_owned(), job.target()]);
    vec![append]
}

fn regctl(job: &Job) -> Vec<Vec<String>> {
    let mut create =
        command("--host", &[&format!("reg={},tls=disabled", job.host()), "index", "create", &job.target()]);
    create.extend(job.images().flat_map(|image| ["--ref".to_owned(), image]));
    vec![create]
}

fn manifest_tool(_: &Job) -> Vec<Vec<String>> {
    vec![command("--plain-http", &["push", "from-spec", &format!("{HOME}/spec.yaml")])]
}

/// Its templates know only Go's words for architectures, so each image is named.
fn manifest_tool_spec(job: &Job) -> String {
    let mut spec = format!("image: {}\nmanifests:\n", job.target());
    for (image, (_, platform)) in job.images().zip(IMAGES) {
        let mut parts = platform.split('/');
        let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        spec += &format!("  - image: {image}\n    platform:\n      os: {os}\n      architecture: {architecture}\n");
        if let Some(variant) = parts.next() {
            spec += &format!("      variant: {variant}\n");
        }
    }
    spec
}

fn buildx(job: &Job) -> Vec<Vec<String>> {
    let mut create = command("imagetools", &["create", "-t", &job.target()]);
    create.extend(job.images());
    vec![create]
}

fn docker(job: &Job) -> Vec<Vec<String>> {
    let mut create = command("manifest", &["create", "--insecure", &job.target()]);
    create.extend(job.images());
    vec![create, command("manifest", &["push", "--insecure", &job.target()])]
}

fn oras(job: &Job) -> Vec<Vec<String>> {
    let mut create = command("manifest", &["index", "create", "--plain-http", &job.target()]);
    create.extend(IMAGES.iter().map(|(word, _)| format!("{word}-xenial")));
    vec![create]
}

fn buildah(job: &Job) -> Vec<Vec<String>> {
    let state = ["--root", "$HOME/root", "--runroot", "$HOME/run", "--storage-driver", "vfs"];
    let with_state = |rest: &[&str]| command(state[0], &[&state[1..], rest].concat());
    let mut create = with_state(&["manifest", "create", "--tls-verify=false", "xenial"]);
    create.extend(job.images().map(|image| format!("docker://{image}")));
    let target = format!("docker://{}", job.target());
    let push = with_state(&["manifest", "push", "--all=false", "--tls-verify=false", "xenial", &target]);
    vec![create, push]
}

/// The same code as buildah's, but it takes no `--tls-verify` for what it reads.
fn podman(job: &Job) -> Vec<Vec<String>> {
    buildah(job)
}

fn plain_http(job: &Job) -> String {
    format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", job.host())
}
