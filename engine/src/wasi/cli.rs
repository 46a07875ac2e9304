// SPDX-License-Identifier: Apache-2.0
//! wasi:cli: arguments, environment, exit, standard streams, terminals.

use super::bindings::wasi::cli::*;
use super::io::{HostInput, HostOutput};
use super::{pairs, text};
use crate::abi::AmbitBytes;
use crate::calls;
use crate::host::Host;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

/// How `exit` leaves the guest: as an error that only the end of the task looks for.
#[derive(Debug)]
pub struct Exit(pub i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}", self.0)
    }
}

impl std::error::Error for Exit {}

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

impl environment::Host for Host {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        self.enter(calls::CLI_ENVIRONMENT_GET_ENVIRONMENT)?;
        let (mut all, mut count) = (std::ptr::null(), 0);
        // SAFETY: C's function with C's context; what it returns is copied at once.
        unsafe {
            (self.shared.vtbl().environment)(self.shared.host(), &mut all, &mut count);
            Ok(pairs(all, count))
        }
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        self.enter(calls::CLI_ENVIRONMENT_GET_ARGUMENTS)?;
        let (mut all, mut count) = (std::ptr::null::<AmbitBytes>(), 0);
        // SAFETY: C's function with C's context; it returns `count` texts that are copied at once.
        unsafe {
            (self.shared.vtbl().arguments)(self.shared.host(), &mut all, &mut count);
            if count == 0 || all.is_null() {
                return Ok(Vec::new());
            }
            Ok(std::slice::from_raw_parts(all, count).iter().map(|a| text(*a)).collect())
        }
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        self.enter(calls::CLI_ENVIRONMENT_INITIAL_CWD)?;
        let mut cwd = AmbitBytes::EMPTY;
        // SAFETY: C's function with C's context.
        let there = unsafe { (self.shared.vtbl().initial_cwd)(self.shared.host(), &mut cwd) };
        Ok(there.then(|| text(cwd)))
    }
}

impl exit::Host for Host {
    fn exit(&mut self, status: std::result::Result<(), ()>) -> Result<()> {
        self.enter(calls::CLI_EXIT_EXIT)?;
        Err(Exit(i32::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, code: u8) -> Result<()> {
        self.enter(calls::CLI_EXIT_EXIT_WITH_CODE)?;
        Err(Exit(i32::from(code)).into())
    }
}

impl Host {
    fn stdio(&self, which: u32) -> u32 {
        // SAFETY: C's function with C's context.
        unsafe { (self.shared.vtbl().stdio)(self.shared.host(), which) }
    }

    fn stdout_like(&mut self, which: u32) -> Result<Resource<DynOutputStream>> {
        let stream = HostOutput::new(self, self.stdio(which));
        Ok(self.table.push(Box::new(stream) as DynOutputStream)?)
    }

    fn terminal(&mut self, which: u32) -> Result<Option<Resource<Terminal>>> {
        // SAFETY: C's function with C's context.
        let is = unsafe { (self.shared.vtbl().stdio_is_terminal)(self.shared.host(), which) };
        Ok(if is { Some(self.table.push(Terminal)?) } else { None })
    }
}

impl stdin::Host for Host {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        self.enter(calls::CLI_STDIN_GET_STDIN)?;
        let stream = HostInput::new(self, self.stdio(STDIN));
        Ok(self.table.push(Box::new(stream) as DynInputStream)?)
    }
}

impl stdout::Host for Host {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        self.enter(calls::CLI_STDOUT_GET_STDOUT)?;
        self.stdout_like(STDOUT)
    }
}

impl stderr::Host for Host {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        self.enter(calls::CLI_STDERR_GET_STDERR)?;
        self.stdout_like(STDERR)
    }
}

/// Says that a standard stream is a terminal; has no functions.
pub struct Terminal;

impl terminal_input::Host for Host {}
impl terminal_output::Host for Host {}

impl terminal_input::HostTerminalInput for Host {
    fn drop(&mut self, terminal: Resource<Terminal>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::HostTerminalOutput for Host {
    fn drop(&mut self, terminal: Resource<Terminal>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for Host {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.enter(calls::CLI_TERMINAL_STDIN_GET_TERMINAL_STDIN)?;
        self.terminal(STDIN)
    }
}

impl terminal_stdout::Host for Host {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.enter(calls::CLI_TERMINAL_STDOUT_GET_TERMINAL_STDOUT)?;
        self.terminal(STDOUT)
    }
}

impl terminal_stderr::Host for Host {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.enter(calls::CLI_TERMINAL_STDERR_GET_TERMINAL_STDERR)?;
        self.terminal(STDERR)
    }
}
