//! The machines that were seen, how far each is, and the IDs under which it gets its config once and reports.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::text::visible;
use rustls::crypto::SecureRandom;
use serde::Serialize;
use serde_json::Value;

use super::config::Config;
use super::identity::Identity;
use super::journal::Journal;
use super::machine::{Event, Ids, Machine, Phase, Waiting};
use crate::determinism::present;
use crate::error::{Error, ErrorKind, Result};

/// How many machines are remembered.
pub(super) const MOST: usize = 20_000;

/// How many of them may be machines that got nothing: anyone can make up as many.
const MOST_IDLE: usize = 2_000;

/// How many new machines one address may be in a minute.
pub(super) const MOST_NEW: usize = 250;

/// How often a config may be cut off on its way before its ID is void.
const MOST_CUT_OFF: u8 = 3;

/// How many refusals are remembered, of all machines together.
const MOST_REFUSALS: usize = 100;

/// The longest text of a report that is kept, in characters.
const LONGEST_TEXT: usize = 300;

/// A request for a config that was not given.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Refusal {
    #[serde(flatten)]
    pub event: Event,
    /// The machine whose ID it was; none if nobody's.
    pub machine: Option<Arc<str>>,
    pub why: &'static str,
}

/// What a machine that asks for its script gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The image.
    Boot,
    /// Its own disk, and why.
    Disk(&'static str),
}

/// What a request for a config gets.
#[derive(Debug)]
pub(super) enum Take {
    /// This text. [`Machines::delivered`] must be told how that went.
    Give { machine: Arc<str>, text: String },
    /// The same client is still being given it.
    Later(Arc<str>),
    /// Nothing: somebody has it, or the machine has asked for another script since.
    Void(Arc<str>),
    /// Nothing: there never was such an ID.
    Unknown,
}

/// Whose word is final about a machine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// A machine that took its config boots from its disk from then on.
    pub is_once: bool,
    /// Machines are installed; then they boot from their disks.
    pub is_install: bool,
}

/// All machines.
#[derive(Debug)]
pub(super) struct Machines {
    rules: Rules,
    random: &'static dyn SecureRandom,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machines: BTreeMap<Arc<str>, Machine>,
    /// The machine of each ID.
    owners: HashMap<String, Arc<str>>,
    /// The machine with each UUID that tells machines apart.
    uuids: HashMap<String, Arc<str>>,
    newcomers: Newcomers,
    refusals: VecDeque<Refusal>,
    journal: Option<Journal>,
}

/// How many new machines each address was in this minute.
#[derive(Debug, Default)]
struct Newcomers {
    minute: u64,
    counts: HashMap<IpAddr, usize>,
}

impl Newcomers {
    fn is_too_many(&mut self, address: IpAddr, minute: u64) -> bool {
        if self.minute != minute {
            (self.minute, self.counts) = (minute, HashMap::new());
        }
        let count = self.counts.entry(address).or_default();
        *count += 1;
        *count > MOST_NEW
    }
}

/// What the status shows.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub machines: Vec<Machine>,
    pub refusals: Vec<Refusal>,
}

impl Machines {
    /// The machines that the folder `state` remembers, but for those of `forget`.
    pub fn open(state: Option<&Path>, rules: Rules, forget: &[String]) -> Result<Self> {
        let (mut machines, mut journal) = match state {
            Some(folder) => {
                let (machines, journal) = Journal::open(folder)?;
                (machines, Some(journal))
            }
            None => (BTreeMap::new(), None),
        };
        for name in forget {
            let before = machines.len();
            machines.retain(|_, machine| !machine.is_called(name));
            if machines.len() == before {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("--forget {name}: no such machine is remembered"),
                )
                .help("name its hardware address or UUID as the status page does"));
            }
        }
        let (mut owners, mut uuids) = (HashMap::new(), HashMap::new());
        for (key, machine) in &mut machines {
            // What was waiting to be taken was not written down.
            machine.percent = None;
            let ids = machine.ids.iter().flat_map(Ids::all).chain(&machine.void);
            owners.extend(ids.map(|id| (id.clone(), key.clone())));
            if let Some(uuid) = machine.own_uuid()
                && (machine.is_settled() || !uuids.contains_key(uuid))
            {
                uuids.insert(uuid.to_owned(), key.clone());
            }
        }
        if let Some(journal) = &mut journal {
            journal.begin(&machines);
        }
        let random = rustls::crypto::ring::default_provider().secure_random;
        let (newcomers, refusals) = (Newcomers::default(), VecDeque::new());
        let inner = Inner { machines, owners, uuids, newcomers, refusals, journal };
        Ok(Self { rules, random, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine asks for its script.
    ///
    /// # Errors
    /// Why it gets none.
    pub fn seen(&self, identity: &Identity, address: IpAddr) -> Result<(Arc<str>, Next), &'static str> {
        let name = identity.key().ok_or("neither mac, uuid nor serial")?;
        let inner = &mut *self.inner();
        let key = match inner.known(identity, name) {
            Some(key) => key,
            None => inner.admit(identity, name, address)?,
        };
        let Some(machine) = inner.machines.get_mut(&key) else { return Err("it was just forgotten") };
        let before = machine.own_uuid().map(str::to_owned);
        machine.asks(identity, address);
        let uuid = machine.own_uuid().map(str::to_owned);
        let next = match self.rules {
            _ if machine.is_installed => Next::Disk("it is installed"),
            Rules { is_once: true, is_install: false } if machine.taken.is_some() => {
                Next::Disk("its config was taken")
            }
            _ => Next::Boot,
        };
        if let Some(before) = before.filter(|before| uuid.as_ref() != Some(before)) {
            inner.forget_uuid(&before, &key);
        }
        inner.uuids.extend(uuid.map(|uuid| (uuid, key.clone())));
        Ok((key, next))
    }

    /// The machine gets a script that boots the image, with a new place for its config. What it had before is
    /// void.
    ///
    /// # Errors
    /// Why it gets none.
    pub fn issue(&self, key: &Arc<str>, config: Option<&Config>) -> Result<Ids, &'static str> {
        let ids = Ids { config: self.id()?, report: self.id()?, boot: self.id()?, install: self.id()? };
        let inner = &mut *self.inner();
        inner.withdraw(key);
        let machine = inner.machines.get_mut(key).ok_or("it was just forgotten")?;
        inner.owners.extend(ids.all().map(|id| (id.clone(), key.clone())));
        machine.ids = Some(ids.clone());
        machine.waiting = config.map(|config| Waiting {
            config: config.clone(),
            by: None,
            is_on_its_way: false,
            cut_off: 0,
        });
        machine.scripts = machine.scripts.saturating_add(1);
        (machine.phase, machine.percent, machine.message) = (Phase::Script, None, None);
        (machine.node, machine.class) = (None, None);
        inner.write_down(key);
        Ok(ids)
    }

    /// The machine gets nothing to boot: for now, or until somebody changes something.
    pub fn nothing(&self, key: &Arc<str>, why: &str, is_final: bool) {
        let inner = &mut *self.inner();
        inner.withdraw(key);
        if let Some(machine) = inner.machines.get_mut(key) {
            (machine.phase, machine.percent) = (Phase::Seen, None);
            machine.message = Some(text(why));
            // A stranger who never got anything is not worth a line.
            if machine.scripts > 0 {
                inner.write_down(key);
            }
        }
        if is_final && inner.machines.values().filter(|machine| machine.is_idle()).count() > MOST_IDLE {
            inner.forget_oldest();
        }
    }

    /// What the user should know about the state that was found.
    pub fn notices(&self) -> Vec<String> {
        let mut inner = self.inner();
        inner
            .journal
            .as_mut()
            .map(|journal| std::mem::take(&mut journal.notices))
            .unwrap_or_default()
    }

    /// A client asks for the config with this ID.
    pub fn take(&self, id: &str, address: IpAddr) -> Take {
        let inner = &mut *self.inner();
        let owner = inner.owners.get(id).cloned();
        let Some(key) = owner else {
            inner.refuse(None, address, "nobody's ID");
            return Take::Unknown;
        };
        let Some(machine) = inner.machines.get_mut(&key) else { return Take::Unknown };
        let report = match &machine.ids {
            Some(ids) if ids.config == id => ids.report.clone(),
            // An ID that is good for something else is as good as none.
            Some(ids) if ids.all().into_iter().any(|each| each == id) => return Take::Unknown,
            _ => {
                inner.refuse(Some(key.clone()), address, "the machine has asked for its script again since");
                return Take::Void(key);
            }
        };
        match &mut machine.waiting {
            Some(waiting) if waiting.by.is_none_or(|by| by == address) => {
                if waiting.is_on_its_way {
                    return Take::Later(key);
                }
                (waiting.by, waiting.is_on_its_way) = (Some(address), true);
                let text = waiting.config.text(&report);
                Take::Give { machine: key, text }
            }
            waiting => {
                let is_taken = waiting.is_none();
                let why =
                    if is_taken { "its config was taken" } else { "another address has begun to take it" };
                inner.refuse(Some(key.clone()), address, why);
                Take::Void(key)
            }
        }
    }

    /// Tells whether the config with this ID reached `address` whole.
    pub fn delivered(&self, key: &Arc<str>, id: &str, address: IpAddr, is_whole: bool) {
        let inner = &mut *self.inner();
        let Some(machine) = inner.machines.get_mut(key) else { return };
        let is_current = machine.ids.as_ref().is_some_and(|ids| ids.config == id);
        if is_whole {
            // Also if the machine has asked for another script meanwhile.
            machine.taken = Some(Event { time: present(), address });
        }
        let Some(waiting) = machine.waiting.as_mut().filter(|_| is_current) else {
            return inner.write_down(key);
        };
        waiting.is_on_its_way = false;
        waiting.cut_off += u8::from(!is_whole);
        if is_whole {
            machine.waiting = None;
            // A quick machine has reported before its connection has ended.
            if matches!(machine.phase, Phase::Script | Phase::Loading) {
                (machine.phase, machine.percent, machine.message) = (Phase::ConfigTaken, None, None);
            }
        } else {
            let is_last = waiting.cut_off == MOST_CUT_OFF;
            machine.message = Some(format!("the config was cut off on its way to {address}"));
            machine.waiting.take_if(|_| is_last);
        }
        inner.write_down(key);
    }

    /// The machine whose ID this is.
    pub fn owner(&self, id: &str) -> Option<Arc<str>> {
        self.inner().owners.get(id).cloned()
    }

    /// The machine with this ID has loaded so much of its initrd.
    pub fn loading(&self, id: &str, percent: u8) {
        let inner = &mut *self.inner();
        let Some(key) = inner.owners.get(id) else { return };
        let Some(machine) = inner.machines.get_mut(key) else { return };
        let is_current = machine.ids.as_ref().is_some_and(|ids| ids.boot == id);
        if is_current && matches!(machine.phase, Phase::Script | Phase::Loading) {
            (machine.phase, machine.percent) = (Phase::Loading, Some(percent));
        }
    }

    /// The agent's verdict; `None` if the ID is no machine's.
    pub fn report(&self, id: &str, verdict: &Value) -> Option<Arc<str>> {
        self.change(
            id,
            |ids| &ids.report,
            |machine| {
                let field = |name: &str| verdict.get(name).and_then(Value::as_str).map(text);
                let outcome = field("outcome");
                machine.phase = match outcome.as_deref() {
                    Some("joined") => Phase::Joined,
                    _ => Phase::Failed,
                };
                machine.message = field("message").or(outcome.filter(|outcome| outcome != "joined"));
                (machine.node, machine.class, machine.percent) = (field("node"), field("class"), None);
            },
        )
    }

    /// How far an installation is; `None` if the ID is no machine's.
    pub fn install_report(&self, id: &str, report: &Value) -> Option<Arc<str>> {
        self.change(
            id,
            |ids| &ids.install,
            |machine| {
                let field = |name: &str| report.get(name).and_then(Value::as_str).map(text);
                machine.phase = match report.get("phase").and_then(Value::as_str) {
                    Some("installed") => Phase::Installed,
                    Some("failed") => Phase::InstallFailed,
                    _ => Phase::Installing,
                };
                // Whatever comes later: the disk may have data of its own by then.
                machine.is_installed |= machine.phase == Phase::Installed;
                let percent = report.get("percent").and_then(Value::as_f64);
                let is_going_on = machine.phase == Phase::Installing;
                machine.percent =
                    percent.filter(|_| is_going_on).map(|percent| percent.clamp(0.0, 100.0) as u8);
                (machine.message, machine.disk) = (field("message"), field("disk"));
            },
        )
    }

    fn change(
        &self,
        id: &str,
        which: impl Fn(&Ids) -> &String,
        change: impl FnOnce(&mut Machine),
    ) -> Option<Arc<str>> {
        let inner = &mut *self.inner();
        let key = inner.owners.get(id)?.clone();
        let machine = inner.machines.get_mut(&key)?;
        machine.ids.as_ref().filter(|ids| which(ids) == id)?;
        change(machine);
        machine.last_seen = present();
        inner.write_down(&key);
        Some(key)
    }

    /// What the status shows now, the machines seen last first.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        let mut machines: Vec<Machine> = inner.machines.values().map(Machine::shown).collect();
        let refusals = inner.refusals.iter().rev().cloned().collect();
        drop(inner);
        machines.sort_by_key(|machine| std::cmp::Reverse(machine.last_seen));
        Snapshot { machines, refusals }
    }

    /// 32 hex digits that nobody can guess.
    fn id(&self) -> Result<String, &'static str> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
        Ok(hex::encode(bytes))
    }
}

impl Inner {
    /// Makes what the machine was given void.
    fn withdraw(&mut self, key: &Arc<str>) {
        let Some(machine) = self.machines.get_mut(key) else { return };
        if let Some(ids) = &machine.ids {
            for id in [&ids.report, &ids.boot, &ids.install] {
                self.owners.remove(id);
            }
        }
        if let Some(old) = machine.become_void() {
            self.owners.remove(&old);
        }
    }

    fn refuse(&mut self, machine: Option<Arc<str>>, address: IpAddr, why: &'static str) {
        let event = Event { time: present(), address };
        if let Some(machine) = machine.as_ref().and_then(|key| self.machines.get_mut(key)) {
            machine.refused = machine.refused.saturating_add(1);
            machine.last_refused = Some(event.clone());
        }
        if let Some(key) = &machine {
            self.write_down(key);
        }
        if self.refusals.len() == MOST_REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back(Refusal { event, machine, why });
    }

    /// The machine that asks under this name. One that boots from another of its interfaces has the same
    /// UUID: it is not new, and least of all if there is something to lose.
    fn known(&self, identity: &Identity, name: &str) -> Option<Arc<str>> {
        let by_name = self.machines.get_key_value(name);
        let by_uuid = identity.own_uuid().and_then(|uuid| self.uuids.get(uuid));
        let by_uuid = by_uuid.and_then(|key| self.machines.get_key_value(key));
        let found = [by_name, by_uuid].into_iter().flatten();
        found.max_by_key(|(_, machine)| machine.is_settled()).map(|(key, _)| key.clone())
    }

    /// Remembers a new machine.
    fn admit(&mut self, identity: &Identity, name: &str, address: IpAddr) -> Result<Arc<str>, &'static str> {
        if self.newcomers.is_too_many(address, present() / 60) {
            return Err("too many new machines from this address: ask again in a minute");
        }
        if self.machines.len() >= MOST && !self.forget_oldest() {
            return Err("the server remembers as many machines as it can");
        }
        let key: Arc<str> = name.into();
        self.machines.insert(key.clone(), Machine::new(identity, address));
        Ok(key)
    }

    /// Makes room: forgets the machine that was not seen for the longest time, of those that got nothing if
    /// there are any, and of those with a script last. One that took something stays.
    fn forget_oldest(&mut self) -> bool {
        let worth = |machine: &Machine| (!machine.is_idle(), machine.ids.is_some(), machine.last_seen);
        let oldest = self
            .machines
            .iter()
            .filter(|(_, machine)| !machine.is_settled())
            .min_by_key(|(_, machine)| worth(machine))
            .map(|(key, _)| key.clone());
        let Some(key) = oldest else { return false };
        let Some(machine) = self.machines.remove(&key) else { return false };
        if let Some(uuid) = machine.own_uuid() {
            self.forget_uuid(uuid, &key);
        }
        let ids = machine.ids.iter().flat_map(Ids::all).chain(&machine.void);
        for id in ids {
            self.owners.remove(id);
        }
        true
    }

    fn forget_uuid(&mut self, uuid: &str, key: &Arc<str>) {
        if self.uuids.get(uuid) == Some(key) {
            self.uuids.remove(uuid);
        }
    }

    fn write_down(&mut self, key: &Arc<str>) {
        if let (Some(journal), Some(machine)) = (&mut self.journal, self.machines.get(key)) {
            journal.append(key, machine, &self.machines);
        }
    }
}

/// A stranger's text: short, and without hidden characters.
fn text(text: &str) -> String {
    visible(text, &[]).chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
