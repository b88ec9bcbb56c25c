//! Compiles the protos, in pure Rust.

use std::path::{Path, PathBuf};
use std::{env, error, fs, io};

use prost::Message as _;

/// The protos' root: this crate's folder.
const ROOT: &str = ".";
/// What crosses the wire.
const WIRE: [&str; 4] = [
    "headgate/v1/config.proto",
    "headgate/v1/quota.proto",
    "headgate/v1/admin.proto",
    "envoy/service/ratelimit/v3/rls.proto",
];
/// What is persisted.
const JOURNAL: [&str; 1] = ["headgate/journal/v1/journal.proto"];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for file in WIRE.iter().chain(&JOURNAL) {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: build with cargo")?);

    // Reflection needs the imports too; the comments are for the generated code alone.
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(WIRE)?;
    let mut wire = compiler.file_descriptor_set();
    generate(wire.clone(), &out)?;
    for file in &mut wire.file {
        file.source_code_info = None;
    }
    fs::write(out.join("headgate_descriptor.bin"), wire.encode_to_vec())?;

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(JOURNAL)?;
    generate(compiler.file_descriptor_set(), &out)?;
    Ok(())
}

/// Writes the Rust code of `files`. Maps are sorted, so that equal messages are equal bytes.
fn generate(files: prost_types::FileDescriptorSet, out: &Path) -> io::Result<()> {
    tonic_prost_build::configure().btree_map(".").out_dir(out).compile_fds(files)
}
