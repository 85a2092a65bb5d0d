//! What Windows has of it.

use windows_sys::Win32::System::{
    Diagnostics::Debug::{
        EXCEPTION_EXECUTE_HANDLER, EXCEPTION_POINTERS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
        SetUnhandledExceptionFilter,
    },
    Threading::{GetCurrentProcess, TerminateProcess},
};

/// What nobody can catch.
pub const KILL: &str = "TerminateProcess";

/// Kills this very process, as [`std::process::Child::kill`] would from outside.
pub fn kill() {
    // SAFETY: the handle is the process's own, and always valid.
    unsafe { TerminateProcess(GetCurrentProcess(), 1) };
}

/// The end is intended: nobody wants to study it, in a window or in a debugger. (A debugger that is
/// started for it also writes where this process writes: into the answer to the laboratory.)
pub fn leave_no_core_file() {
    unsafe extern "system" fn end(_: *const EXCEPTION_POINTERS) -> i32 {
        EXCEPTION_EXECUTE_HANDLER
    }
    // SAFETY: the filter touches nothing, and stays where it is as long as the program does.
    unsafe {
        SetErrorMode(SEM_NOGPFAULTERRORBOX);
        SetUnhandledExceptionFilter(Some(end));
    }
}

/// Every stack of Windows is limited.
pub fn limit_the_stack() {}
