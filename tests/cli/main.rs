//! The command as a user runs it.

#![cfg(feature = "cli")]

mod apply;
mod bench;
mod columns;
#[path = "../common/command.rs"]
mod command;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/damage.rs"]
mod damage;
mod fit;
mod formats;
#[path = "../common/golden.rs"]
mod golden;
mod held_out;
mod keeping;
mod memory;
mod outputs;
mod predict;
mod scales;
mod shaders;
mod streams;
mod sweep;
mod unusual;
mod verify;
