//! `deputize-bindgen WASM DIRECTORY`: writes the package's `deputize_bg.wasm` and `deputize_bg.js`.
//!
//! The library behind the `wasm-bindgen` command, so that its version is the crate's, by the lock file, and that
//! nobody has to install it.

use std::{env, error::Error};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(wasm), Some(directory), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: deputize-bindgen WASM DIRECTORY".into());
    };
    Bindgen::new()
        .input_path(wasm)
        .out_name("deputize")
        .web(true)?
        // Each runtime's entry names the module's address.
        .omit_default_module_path(true)
        // Our type declarations are written by hand.
        .typescript(false)
        // What names the functions in a stack trace; made short afterwards (`names.js`).
        .remove_name_section(false)
        .remove_producers_section(true)
        .generate(directory)?;
    Ok(())
}
