//! Windows programs: the machine of a portable executable.
//!
//! Microsoft's PE format, "COFF File Header (Object and Image)".

use super::probe::{Fetch, Nature, Program, Seen};
use crate::model::Machine;

const IS_PROGRAM: u16 = 0x0002;
/// Where the optional header of a 32-bit program names its .NET part ("Optional Header Data
/// Directories", the fifteenth), counted from the signature.
const DOTNET: u64 = 24 + 96 + 14 * 8;

/// What a file that begins with `MZ` is; `None` as long as too little of it came.
pub(super) fn read(seen: &mut Seen) -> Option<Nature> {
    let Fetch::Here(offset) = seen.fetch(0x3c, 4) else {
        return Some(Nature::Data);
    };
    let offset = u64::from(u32::from_le_bytes(offset.try_into().expect("four bytes were asked for")));
    let header = match seen.fetch(offset, 24) {
        Fetch::Here(header) => header,
        Fetch::Later => return None,
        Fetch::Gone => return Some(Nature::Data),
    };
    if !header.starts_with(b"PE\0\0") {
        return Some(Nature::Odd("a program for DOS".to_owned()));
    }
    let header = header.to_vec();
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if number(22) & IS_PROGRAM == 0 {
        return Some(Nature::Odd("an object file".to_owned()));
    }
    if number(4) == 0x014c {
        // What .NET compiles says 32-bit x86 and runs on any machine.
        match offset.checked_add(DOTNET).map(|at| seen.fetch(at, 4)) {
            Some(Fetch::Here(at)) if at != [0; 4] => {
                return Some(Nature::Odd("a .NET program, which may be for any machine".to_owned()));
            }
            Some(Fetch::Later) => return None,
            _ => {}
        }
    }
    let (architecture, shown) = match number(4) {
        0x8664 => (Some("amd64"), "PE x86-64".to_owned()),
        0xaa64 => (Some("arm64"), "PE ARM64".to_owned()),
        0x014c => (Some("386"), "PE 32-bit x86".to_owned()),
        0x01c4 => (Some("arm"), "PE 32-bit ARM".to_owned()),
        other => (None, format!("PE for machine {other:#06x}")),
    };
    let machine = Machine {
        os: "windows".to_owned(),
        architecture: architecture.map(str::to_owned),
        level: None,
        hard_float: None,
        shown,
    };
    Some(Nature::Program(Box::new(Program { machine, loader: None, flaw: None })))
}
