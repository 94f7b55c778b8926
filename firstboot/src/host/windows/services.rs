//! The service manager (SCM): services are asked, started, stopped and defined by its calls.

use std::io;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_DEPENDENT_SERVICES_RUNNING, ERROR_INVALID_LEVEL, ERROR_NOT_ALL_ASSIGNED,
    ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_NOT_ACTIVE,
    ERROR_SHUTDOWN_IN_PROGRESS, ERROR_SHUTDOWN_IS_SCHEDULED, GetLastError, HANDLE, LUID,
};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED,
    SE_SHUTDOWN_NAME, TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY,
};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, ChangeServiceConfigW, CloseServiceHandle, ControlService, CreateServiceW,
    DeleteService, ENUM_SERVICE_STATUSW, EnumDependentServicesW, OpenSCManagerW, OpenServiceW,
    QUERY_SERVICE_CONFIGW, QueryServiceConfigW, QueryServiceStatus, SC_ACTION, SC_ACTION_RESTART, SC_HANDLE,
    SC_MANAGER_ALL_ACCESS, SC_MANAGER_CONNECT, SERVICE_ACTIVE, SERVICE_ALL_ACCESS, SERVICE_AUTO_START,
    SERVICE_CONFIG_DESCRIPTION, SERVICE_CONFIG_FAILURE_ACTIONS, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG,
    SERVICE_CONTROL_STOP, SERVICE_DEMAND_START, SERVICE_DESCRIPTIONW, SERVICE_DISABLED,
    SERVICE_ENUMERATE_DEPENDENTS, SERVICE_ERROR_NORMAL, SERVICE_FAILURE_ACTIONS_FLAG,
    SERVICE_FAILURE_ACTIONSW, SERVICE_QUERY_CONFIG, SERVICE_QUERY_STATUS, SERVICE_RUNNING, SERVICE_START,
    SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STOP, SERVICE_STOPPED, SERVICE_WIN32_OWN_PROCESS,
    StartServiceW,
};
use windows_sys::Win32::System::Shutdown::{
    InitiateSystemShutdownExW, SHTDN_REASON_FLAG_PLANNED, SHTDN_REASON_MAJOR_OPERATINGSYSTEM,
    SHTDN_REASON_MINOR_RECONFIG,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::registry::Key;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::root::Root;
pub use crate::host::service_state::{Enablement, Prospect, Wait};
use crate::os::wide::{pointed, wide};

/// How long a service may take to stop or start. kubeadm waits as long.
const LIMIT: Duration = Duration::from_secs(30);
/// The pause between two questions, as in kubeadm.
const PAUSE: Duration = Duration::from_millis(300);
/// A service that failed starts again after this time, and its failures are forgotten after a day.
const RESTART_MILLISECONDS: u32 = 10_000;
const FORGET_SECONDS: u32 = 86_400;
/// The seconds between a wish for a shutdown and its begin, in which the run says its verdict.
const GRACE: u32 = 5;
/// A handle or path of the registry is at most this long in a service's configuration, in bytes.
const LONGEST_CONFIG: u32 = 8 << 10;

/// The longest list of services that need another, in bytes: the system's own limit.
const LONGEST_LIST: u32 = 256 << 10;

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// Windows' own.
    Scm,
    /// None, for a folder: services are not started or stopped, and their state is unknown.
    None,
}

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At boot.
    Boot,
    /// When another program asks for it.
    Demand,
}

/// A service as it should be. It runs as SYSTEM and starts again when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its name, by which other programs know it.
    pub name: &'a str,
    /// What lists of services show.
    pub title: &'a str,
    /// One sentence.
    pub description: &'a str,
    /// The program and its arguments, quoted as Windows splits them.
    pub command_line: &'a str,
    /// When it starts.
    pub start: Start,
    /// The services that must run before it; none where they are left as they are.
    pub needs: Option<&'a [&'a str]>,
}

impl Services {
    /// The manager of the machine that the agent runs on. A folder has none.
    pub fn of(root: &Root) -> Self {
        if root.is_machine() { Self::Scm } else { Self::None }
    }

    /// Whether the manager evaluates the kubelet's variable as a shell does.
    pub fn evaluates(self) -> bool {
        false
    }

    /// Whether `service` runs or is starting.
    pub fn is_active(self, service: &str) -> Result<bool> {
        let Some(service) = self.open(service, SERVICE_QUERY_STATUS)? else { return Ok(false) };
        Ok(matches!(service.state()?, SERVICE_RUNNING | SERVICE_START_PENDING))
    }

    /// Whether `service` exists and can be started.
    pub fn enablement(self, service: &str) -> Result<Enablement> {
        if self == Self::None {
            return Ok(Enablement::Unknown);
        }
        let Some(service) = self.open(service, SERVICE_QUERY_CONFIG)? else { return Ok(Enablement::Absent) };
        Ok(if service.start_type()? == SERVICE_DISABLED { Enablement::Disabled } else { Enablement::Enabled })
    }

    /// Whether `service`, which does not answer, is worth waiting for.
    pub fn prospect(self, service: &str) -> Result<Prospect> {
        let Some(service) = self.open(service, SERVICE_QUERY_STATUS)? else { return Ok(Prospect::Hopeful) };
        let status = service.status()?;
        Ok(match (status.dwCurrentState, status.dwWin32ExitCode) {
            // ERROR_SERVICE_NEVER_STARTED: it may wait for another service at boot.
            (SERVICE_STOPPED, 0 | 1077) => Prospect::Idle,
            (SERVICE_STOPPED, _) => Prospect::Failed,
            _ => Prospect::Hopeful,
        })
    }

    /// Starts `service`, unless it runs.
    pub fn start(self, service: &str, wait: Wait) -> Result<()> {
        let doing = || format!("starting the service {service}");
        let Some(opened) = self.open(service, SERVICE_START | SERVICE_QUERY_STATUS)? else {
            return self.absent(service);
        };
        let started = opened.start();
        started.doing(doing()).map_err(|failure| failure.help(self.advice(service)))?;
        if wait == Wait::Started { opened.wait_for(SERVICE_RUNNING, &doing()) } else { Ok(()) }
    }

    /// Stops `service` and those that need it, and waits until it has ended. It is no error if there is none.
    pub fn stop(self, service: &str) -> Result<()> {
        let doing = || format!("stopping the service {service}");
        let rights = SERVICE_STOP | SERVICE_QUERY_STATUS | SERVICE_ENUMERATE_DEPENDENTS;
        let Some(opened) = self.open(service, rights)? else { return Ok(()) };
        if let Err(error) = opened.stop() {
            if !is(&error, ERROR_DEPENDENT_SERVICES_RUNNING) {
                return Err(error).doing(doing());
            }
            opened
                .dependents()
                .doing(doing())?
                .iter()
                .try_for_each(|dependent| self.stop(dependent))?;
            opened.stop().doing(doing())?;
        }
        opened.wait_for(SERVICE_STOPPED, &doing())
    }

    /// Restarts `service`.
    pub fn restart(self, service: &str, wait: Wait) -> Result<()> {
        self.stop(service)?;
        self.start(service, wait)
    }

    /// Makes the service, or changes it to this.
    pub fn define(self, wanted: &Definition) -> Result<()> {
        if self == Self::None {
            return Ok(());
        }
        let doing = || format!("defining the service {}", wanted.name);
        let manager = Manager::open(SC_MANAGER_ALL_ACCESS).doing(doing())?;
        let service = match manager.open_service(wanted.name, SERVICE_ALL_ACCESS) {
            Ok(Some(service)) => service.change(wanted).map(|()| service),
            Ok(None) => manager.create(wanted),
            Err(error) => Err(error),
        };
        service.and_then(|service| service.describe(wanted)).doing(doing())
    }

    /// Removes a service once it has ended. A missing one is no error.
    pub fn remove(self, service: &str) -> Result<()> {
        self.stop(service)?;
        let Some(opened) = self.open(service, SERVICE_ALL_ACCESS)? else { return Ok(()) };
        opened.delete().doing(format!("removing the service {service}"))
    }

    /// Powers the machine off or reboots it: `verb` is `poweroff` or `reboot`.
    pub fn stop_machine(self, verb: &str) -> Result<()> {
        shut_down(verb == "reboot").doing(format!("asking Windows for a {verb}"))
    }

    /// Definitions of services are not in files.
    pub fn reload_if_changed(self, _: &str) -> Result<bool> {
        Ok(false)
    }

    /// The command that shows the operator why `service` does not run.
    pub fn advice(self, service: &str) -> String {
        format!("see sc.exe queryex {service}, and its log in C:\\var\\log")
    }

    /// None if there is no such service, or no manager.
    fn open(self, service: &str, rights: u32) -> Result<Option<Service>> {
        if self == Self::None {
            return Ok(None);
        }
        let opened =
            Manager::open(SC_MANAGER_CONNECT).and_then(|manager| manager.open_service(service, rights));
        opened.doing(format!("opening the service {service}"))
    }

    fn absent(self, service: &str) -> Result<()> {
        if self == Self::None {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::Host, format!("there is no service {service}"))
            .help("add its layer to the image"))
    }
}

/// The command line of a service; none if there is no such service.
pub fn command_line(service: &str) -> Option<String> {
    Key::open(&format!(r"SYSTEM\CurrentControlSet\Services\{service}"))?.text("ImagePath")
}

/// The manager, opened.
struct Manager(SC_HANDLE);
/// A service, opened.
struct Service(SC_HANDLE);

impl Manager {
    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn open(rights: u32) -> io::Result<Self> {
        // SAFETY: without names, it is this machine's active database.
        whole(unsafe { OpenSCManagerW(null(), null(), rights) }).map(Self)
    }

    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn open_service(&self, name: &str, rights: u32) -> io::Result<Option<Service>> {
        let name = wide(name);
        // SAFETY: the manager is open, and the name ends with a NUL.
        match whole(unsafe { OpenServiceW(self.0, name.as_ptr(), rights) }) {
            Ok(service) => Ok(Some(Service(service))),
            Err(error) if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn create(&self, wanted: &Definition) -> io::Result<Service> {
        let (name, title, command_line) = (wide(wanted.name), wide(wanted.title), wide(wanted.command_line));
        let needs = wanted.needs.map(list).unwrap_or_default();
        // SAFETY: the manager is open, and the texts end with NULs; without an account, it is SYSTEM.
        let created = unsafe {
            CreateServiceW(
                self.0,
                name.as_ptr(),
                title.as_ptr(),
                SERVICE_ALL_ACCESS,
                SERVICE_WIN32_OWN_PROCESS,
                wanted.start.code(),
                SERVICE_ERROR_NORMAL,
                command_line.as_ptr(),
                null(),
                null_mut(),
                if needs.is_empty() { null() } else { needs.as_ptr() },
                null(),
                null(),
            )
        };
        whole(created).map(Service)
    }
}

impl Start {
    fn code(self) -> u32 {
        match self {
            Self::Boot => SERVICE_AUTO_START,
            Self::Demand => SERVICE_DEMAND_START,
        }
    }
}

#[allow(unsafe_code)] // calls of the system that std does not offer
impl Service {
    fn status(&self) -> Result<SERVICE_STATUS> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the service is open, and the structure outlives the call.
        done(unsafe { QueryServiceStatus(self.0, &raw mut status) }).doing("asking for a service's state")?;
        Ok(status)
    }

    fn state(&self) -> Result<u32> {
        self.status().map(|status| status.dwCurrentState)
    }

    fn start_type(&self) -> Result<u32> {
        let mut memory = vec![0_u64; LONGEST_CONFIG as usize / 8];
        let mut needed = 0;
        let config: *mut QUERY_SERVICE_CONFIGW = memory.as_mut_ptr().cast();
        // SAFETY: the memory is aligned, as long as it says, and outlives the use of what was written to it.
        unsafe {
            done(QueryServiceConfigW(self.0, config, LONGEST_CONFIG, &raw mut needed))
                .doing("asking for a service's configuration")?;
            Ok((*config).dwStartType)
        }
    }

    fn start(&self) -> io::Result<()> {
        // SAFETY: the service is open; it gets no arguments.
        match done(unsafe { StartServiceW(self.0, 0, null()) }) {
            Err(error) if is(&error, ERROR_SERVICE_ALREADY_RUNNING) => Ok(()),
            started => started,
        }
    }

    fn stop(&self) -> io::Result<()> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the service is open, and the structure outlives the call.
        match done(unsafe { ControlService(self.0, SERVICE_CONTROL_STOP, &raw mut status) }) {
            Err(error) if is(&error, ERROR_SERVICE_NOT_ACTIVE) => Ok(()),
            stopped => stopped,
        }
    }

    /// The services that run and need this one.
    fn dependents(&self) -> io::Result<Vec<String>> {
        let mut memory = vec![0_u64; LONGEST_LIST as usize / 8];
        let first: *mut ENUM_SERVICE_STATUSW = memory.as_mut_ptr().cast();
        let (mut needed, mut count) = (0, 0);
        // SAFETY: the service is open; the memory is aligned, as long as it says, and outlives the use of the
        // entries and of their texts, which the system put there.
        unsafe {
            done(EnumDependentServicesW(
                self.0,
                SERVICE_ACTIVE,
                first,
                LONGEST_LIST,
                &raw mut needed,
                &raw mut count,
            ))?;
            Ok((0..count as usize).map(|at| pointed((*first.add(at)).lpServiceName)).collect())
        }
    }

    fn wait_for(&self, state: u32, doing: &str) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = self.state()?;
            if now == state {
                return Ok(());
            }
            let is_over = Instant::now() >= deadline || (state == SERVICE_RUNNING && now == SERVICE_STOPPED);
            if is_over {
                let code = self.status()?.dwWin32ExitCode;
                let message = format!("{doing}: it is in state {now}, with code {code}");
                return Err(Failure::new(ErrorKind::Host, message).transient());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn change(&self, wanted: &Definition) -> io::Result<()> {
        let (title, command_line) = (wide(wanted.title), wide(wanted.command_line));
        let needs = wanted.needs.map(list);
        // SAFETY: the service is open, and the texts end with NULs.
        done(unsafe {
            ChangeServiceConfigW(
                self.0,
                SERVICE_WIN32_OWN_PROCESS,
                wanted.start.code(),
                SERVICE_ERROR_NORMAL,
                command_line.as_ptr(),
                null(),
                null_mut(),
                needs.as_ref().map_or(null(), |needs| needs.as_ptr()),
                null(),
                null(),
                title.as_ptr(),
            )
        })
    }

    /// Sets what only a second call sets: the description, and what follows a failure.
    fn describe(&self, wanted: &Definition) -> io::Result<()> {
        let mut text = wide(wanted.description);
        let description = SERVICE_DESCRIPTIONW { lpDescription: text.as_mut_ptr() };
        // SAFETY: the service is open, and the structure and its text outlive the call.
        done(unsafe {
            ChangeServiceConfig2W(self.0, SERVICE_CONFIG_DESCRIPTION, (&raw const description).cast())
        })?;
        let mut actions = [SC_ACTION { Type: SC_ACTION_RESTART, Delay: RESTART_MILLISECONDS }; 3];
        let failure = SERVICE_FAILURE_ACTIONSW {
            dwResetPeriod: FORGET_SECONDS,
            lpRebootMsg: null_mut(),
            lpCommand: null_mut(),
            cActions: 3,
            lpsaActions: actions.as_mut_ptr(),
        };
        // SAFETY: the same.
        known(unsafe {
            ChangeServiceConfig2W(self.0, SERVICE_CONFIG_FAILURE_ACTIONS, (&raw const failure).cast())
        })?;
        // Also where the service ends with a code that says that it failed, not only where it crashes.
        let flag = SERVICE_FAILURE_ACTIONS_FLAG { fFailureActionsOnNonCrashFailures: 1 };
        // SAFETY: the same.
        known(unsafe {
            ChangeServiceConfig2W(self.0, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, (&raw const flag).cast())
        })
    }

    fn delete(&self) -> io::Result<()> {
        // SAFETY: the service is open.
        done(unsafe { DeleteService(self.0) })
    }
}

impl Drop for Manager {
    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn drop(&mut self) {
        // SAFETY: it was opened and is closed once.
        unsafe { CloseServiceHandle(self.0) };
    }
}

impl Drop for Service {
    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn drop(&mut self) {
        // SAFETY: it was opened and is closed once.
        unsafe { CloseServiceHandle(self.0) };
    }
}

/// Asks Windows to shut down. The process needs a privilege that it has, but that is off.
#[allow(unsafe_code)] // calls of the system that std does not offer
fn shut_down(reboots: bool) -> io::Result<()> {
    let reason = SHTDN_REASON_MAJOR_OPERATINGSYSTEM | SHTDN_REASON_MINOR_RECONFIG | SHTDN_REASON_FLAG_PLANNED;
    let mut message = wide("firstboot");
    let mut token: HANDLE = null_mut();
    let mut privileges = TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [LUID_AND_ATTRIBUTES { Luid: LUID::default(), Attributes: SE_PRIVILEGE_ENABLED }],
    };
    // SAFETY: the pointers outlive the calls, and the token is closed once.
    unsafe {
        let rights = TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY;
        done(OpenProcessToken(GetCurrentProcess(), rights, &raw mut token))?;
        let luid = &raw mut privileges.Privileges[0].Luid;
        let adjusted = done(LookupPrivilegeValueW(null(), SE_SHUTDOWN_NAME, luid)).and_then(|()| {
            done(AdjustTokenPrivileges(token, 0, &raw const privileges, 0, null_mut(), null_mut()))?;
            match GetLastError() {
                ERROR_NOT_ALL_ASSIGNED => Err(io::ErrorKind::PermissionDenied.into()),
                _ => Ok(()),
            }
        });
        CloseHandle(token);
        adjusted?;
        let reboots = i32::from(reboots);
        match done(InitiateSystemShutdownExW(null(), message.as_mut_ptr(), GRACE, 1, reboots, reason)) {
            Err(error) if is(&error, ERROR_SHUTDOWN_IS_SCHEDULED) => Ok(()),
            Err(error) if is(&error, ERROR_SHUTDOWN_IN_PROGRESS) => Ok(()),
            asked => asked,
        }
    }
}

/// Texts one after another, each with its NUL, and one more NUL.
fn list(names: &[&str]) -> Vec<u16> {
    names.iter().flat_map(wide).chain([0]).collect()
}

fn whole(handle: SC_HANDLE) -> io::Result<SC_HANDLE> {
    if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(handle) }
}

fn done(succeeded: i32) -> io::Result<()> {
    if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The same; wine does not know what follows a failure, and starts the service all the same.
fn known(succeeded: i32) -> io::Result<()> {
    match done(succeeded) {
        Err(error) if is(&error, ERROR_INVALID_LEVEL) => Ok(()),
        done => done,
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
