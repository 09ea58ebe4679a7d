//! The checked-in code is what /proto says. `UPDATE_PROTO=1 cargo test -p proto` writes it anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prost_types::FileDescriptorSet;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn proto_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            proto_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
}

fn compile() -> (Vec<u8>, FileDescriptorSet) {
    let include = root().join("proto");
    let mut files = Vec::new();
    proto_files(&include, &mut files);
    let mut compiler = protox::Compiler::new([&include]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(&files).unwrap();
    let with_comments = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    // Raw bytes keep the policy option, which prost-types would drop.
    (compiler.encode_file_descriptor_set(), with_comments)
}

fn folder_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn the_checked_in_code_is_what_the_proto_files_say() {
    let (descriptors, with_comments) = compile();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .include_file("mod.rs")
        // A feed's documents are shared by all streams that send them.
        .bytes(".kotinos.results.v1.Snap")
        .bytes(".kotinos.results.v1.Full")
        .bytes(".kotinos.results.v1.Delta")
        .compile_fds(with_comments)
        .unwrap();
    fs::write(out.path().join("descriptors.bin"), descriptors).unwrap();

    let fresh = folder_files(out.path());
    let checked_in = root().join("crates/proto/src/gen");
    if std::env::var_os("UPDATE_PROTO").is_some() {
        for name in folder_files(&checked_in).keys().filter(|name| !fresh.contains_key(*name)) {
            fs::remove_file(checked_in.join(name)).unwrap();
        }
        for (name, bytes) in &fresh {
            fs::write(checked_in.join(name), bytes).unwrap();
        }
    }
    let old = folder_files(&checked_in);
    let stale: Vec<&String> = fresh
        .iter()
        .filter(|(name, bytes)| old.get(*name) != Some(bytes))
        .map(|(name, _)| name)
        .chain(old.keys().filter(|name| !fresh.contains_key(*name)))
        .collect();
    assert!(stale.is_empty(), "stale: {stale:?}; run `UPDATE_PROTO=1 cargo test -p proto`");
}
