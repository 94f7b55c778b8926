//! CIS Distribution Independent Linux Benchmark 2.0.0.

use super::look::Look::{
    Audit, By, Check, Exempt, Mode, Mount, Never, NoFile, NoModule, NoPackages, Ssh, Sysctl,
};
use super::look::{Look, Wanted, finding, not_checked, passed_unless};
use super::settings::{Settings, exists};
use super::{Outcome, Rule};
use crate::tree::units;

const fn rule(id: &'static str, title: &'static str, look: Look) -> Rule {
    Rule { id, title, look }
}

const NO_PASSWORDS: &str = "rules for passwords: no account of an image has one (the check password)";
const JOURNAL: &str = "the journal of systemd keeps the logs, and bounds them";
const RUNNING: &str = "only a running machine tells";
const PARTITIONS: &str = "the disk and its initrd decide: an image's files do not tell";
const FIREWALL: &str = "kube-proxy and the network plugin write the rules of a node";
const WRAPPERS: &str = "no server of a node reads the files of TCP wrappers";

pub(super) const RULES: &[Rule] = &[
    rule("linux-1.1.1.1", "cramfs cannot be mounted", NoModule("cramfs")),
    rule("linux-1.1.1.2", "freevxfs cannot be mounted", NoModule("freevxfs")),
    rule("linux-1.1.1.3", "jffs2 cannot be mounted", NoModule("jffs2")),
    rule("linux-1.1.1.4", "hfs cannot be mounted", NoModule("hfs")),
    rule("linux-1.1.1.5", "hfsplus cannot be mounted", NoModule("hfsplus")),
    rule("linux-1.1.1.6", "squashfs cannot be mounted", Exempt("the root of a node is a squashfs")),
    rule("linux-1.1.1.7", "udf cannot be mounted", NoModule("udf")),
    rule("linux-1.1.1.8", "FAT cannot be mounted", Exempt("the EFI system partition is FAT")),
    rule("linux-1.1.2", "/tmp is a file system of its own", Mount("/tmp", "mode=1777")),
    rule("linux-1.1.3", "/tmp has no devices", Mount("/tmp", "nodev")),
    rule("linux-1.1.4", "/tmp has no setuid programs", Mount("/tmp", "nosuid")),
    rule("linux-1.1.5", "/tmp has no programs", Mount("/tmp", "noexec")),
    rule("linux-1.1.6", "/var is a file system of its own", Never(PARTITIONS)),
    rule("linux-1.1.7", "/var/tmp is a file system of its own", Never(PARTITIONS)),
    rule("linux-1.1.8", "/var/tmp has no devices", Never(PARTITIONS)),
    rule("linux-1.1.9", "/var/tmp has no setuid programs", Never(PARTITIONS)),
    rule("linux-1.1.10", "/var/tmp has no programs", Never(PARTITIONS)),
    rule("linux-1.1.11", "/var/log is a file system of its own", Never(PARTITIONS)),
    rule("linux-1.1.12", "/var/log/audit is a file system of its own", Never(PARTITIONS)),
    rule("linux-1.1.13", "/home is a file system of its own", Never(PARTITIONS)),
    rule("linux-1.1.14", "/home has no devices", Never(PARTITIONS)),
    rule("linux-1.1.15", "/dev/shm has no devices", Mount("/dev/shm", "nodev")),
    rule("linux-1.1.16", "/dev/shm has no setuid programs", Mount("/dev/shm", "nosuid")),
    rule("linux-1.1.17", "/dev/shm has no programs", Mount("/dev/shm", "noexec")),
    rule("linux-1.1.18", "removable media have no devices", Never("a node mounts none")),
    rule("linux-1.1.19", "removable media have no setuid programs", Never("a node mounts none")),
    rule("linux-1.1.20", "removable media have no programs", Never("a node mounts none")),
    rule("linux-1.1.21", "folders that all may write keep others' files (sticky)", Check("world-writable")),
    rule("linux-1.1.22", "nothing is mounted by itself", NoPackages(&["autofs"])),
    rule("linux-1.1.23", "disks on USB cannot be used", NoModule("usb-storage")),
    rule("linux-1.2.1", "packages come from where they should", Never("no package is installed on a node")),
    rule("linux-1.2.2", "packages are signed", Check("package-source")),
    rule(
        "linux-1.3.1",
        "changed files are noticed",
        Exempt("the root is read-only, and its files are checked offline"),
    ),
    rule(
        "linux-1.3.2",
        "changed files are looked for regularly",
        Exempt("the root is read-only, and its files are checked offline"),
    ),
    rule("linux-1.4.1", "only root may write the boot loader's configuration", Never("FAT has no modes")),
    rule(
        "linux-1.4.2",
        "the boot loader has a password",
        Never("the firmware and Secure Boot decide what starts"),
    ),
    rule("linux-1.4.3", "a rescue shell asks for a password", Check("kernel-argument")),
    rule("linux-1.4.4", "nobody chooses what is started", Never(RUNNING)),
    rule(
        "linux-1.5.1",
        "programs leave no copies of their memory",
        Sysctl(&[("fs.suid_dumpable", "0"), ("kernel.core_pattern", "|/bin/false")]),
    ),
    rule("linux-1.5.2", "the processor runs no data", Never(RUNNING)),
    rule("linux-1.5.3", "places in memory are random", Sysctl(&[("kernel.randomize_va_space", "2")])),
    rule("linux-1.5.4", "programs are not changed to start faster", NoPackages(&["prelink"])),
    rule("linux-1.6.1.1", "AppArmor or SELinux is installed", By(confinement)),
    rule("linux-1.6.2.1", "SELinux is not switched off at boot", By(confined_at_boot)),
    rule("linux-1.6.3.1", "AppArmor is not switched off at boot", By(confined_at_boot)),
    rule("linux-1.6.3.2", "all profiles are enforced", Never(RUNNING)),
    rule("linux-1.7.1.1", "the message of the day tells no version", By(|image| banner(image, "etc/motd"))),
    rule("linux-1.7.1.2", "the prompt of a console tells no version", By(|image| banner(image, "etc/issue"))),
    rule(
        "linux-1.7.1.3",
        "the prompt of a network login tells no version",
        By(|image| banner(image, "etc/issue.net")),
    ),
    rule("linux-1.7.1.4", "only root may write /etc/motd", Mode("etc/motd", 0o644)),
    rule("linux-1.7.1.5", "only root may write /etc/issue", Mode("etc/issue", 0o644)),
    rule("linux-1.7.1.6", "only root may write /etc/issue.net", Mode("etc/issue.net", 0o644)),
    rule("linux-1.7.2", "a graphical login shows a banner", NoPackages(&["gdm3", "gdm"])),
    rule("linux-1.8", "there are no updates left", Never("kiln outdated and kiln audit tell")),
    rule(
        "linux-2.1",
        "no inetd and none of its services",
        NoPackages(&[
            "xinetd",
            "openbsd-inetd",
            "inetutils-inetd",
            "rsh-server",
            "talkd",
            "telnetd",
            "tftpd-hpa",
            "atftpd",
        ]),
    ),
    rule("linux-2.2.1.1", "the clock is set by the network", By(clock)),
    rule("linux-2.2.2", "no X server", NoPackages(&["xserver-xorg-core", "xorg-x11-server-Xorg"])),
    rule("linux-2.2.3", "no Avahi", NoPackages(&["avahi-daemon"])),
    rule("linux-2.2.4", "no CUPS", NoPackages(&["cups"])),
    rule("linux-2.2.5", "no DHCP server", NoPackages(&["isc-dhcp-server", "kea-dhcp4-server"])),
    rule("linux-2.2.6", "no LDAP server", NoPackages(&["slapd"])),
    rule("linux-2.2.7", "no NFS server", NoPackages(&["nfs-kernel-server"])),
    rule("linux-2.2.8", "no DNS server", NoPackages(&["bind9", "dnsmasq", "unbound"])),
    rule("linux-2.2.9", "no FTP server", NoPackages(&["vsftpd", "proftpd-core"])),
    rule("linux-2.2.10", "no HTTP server", NoPackages(&["apache2", "nginx", "lighttpd"])),
    rule("linux-2.2.11", "no IMAP and POP3 server", NoPackages(&["dovecot-core", "cyrus-imapd"])),
    rule("linux-2.2.12", "no Samba", NoPackages(&["samba"])),
    rule("linux-2.2.13", "no HTTP proxy", NoPackages(&["squid"])),
    rule("linux-2.2.14", "no SNMP server", NoPackages(&["snmpd"])),
    rule(
        "linux-2.2.15",
        "no mail server for others",
        NoPackages(&["postfix", "exim4-daemon-light", "sendmail-bin"]),
    ),
    rule("linux-2.2.16", "no rsync", NoPackages(&["rsync"])),
    rule("linux-2.2.17", "no NIS server", NoPackages(&["nis", "ypserv"])),
    rule("linux-2.3.1", "no NIS client", NoPackages(&["nis", "yp-tools"])),
    rule("linux-2.3.2", "no rsh client", NoPackages(&["rsh-client"])),
    rule("linux-2.3.3", "no talk client", NoPackages(&["talk"])),
    rule("linux-2.3.4", "no telnet client", NoPackages(&["telnet", "inetutils-telnet"])),
    rule("linux-2.3.5", "no LDAP client", NoPackages(&["ldap-utils"])),
    rule("linux-3.1.1", "packets are not forwarded", Exempt("a node forwards the packets of its pods")),
    rule(
        "linux-3.1.2",
        "no redirects are sent",
        Sysctl(&[("net.ipv4.conf.all.send_redirects", "0"), ("net.ipv4.conf.default.send_redirects", "0")]),
    ),
    rule(
        "linux-3.2.1",
        "routes of senders are not taken",
        Sysctl(&[
            ("net.ipv4.conf.all.accept_source_route", "0"),
            ("net.ipv4.conf.default.accept_source_route", "0"),
            ("net.ipv6.conf.all.accept_source_route", "0"),
            ("net.ipv6.conf.default.accept_source_route", "0"),
        ]),
    ),
    rule(
        "linux-3.2.2",
        "redirects are not taken",
        Sysctl(&[
            ("net.ipv4.conf.all.accept_redirects", "0"),
            ("net.ipv4.conf.default.accept_redirects", "0"),
            ("net.ipv6.conf.all.accept_redirects", "0"),
            ("net.ipv6.conf.default.accept_redirects", "0"),
        ]),
    ),
    rule(
        "linux-3.2.3",
        "redirects of gateways are not taken",
        Sysctl(&[
            ("net.ipv4.conf.all.secure_redirects", "0"),
            ("net.ipv4.conf.default.secure_redirects", "0"),
        ]),
    ),
    rule(
        "linux-3.2.4",
        "impossible senders are logged",
        Sysctl(&[("net.ipv4.conf.all.log_martians", "1"), ("net.ipv4.conf.default.log_martians", "1")]),
    ),
    rule(
        "linux-3.2.5",
        "pings for all are not answered",
        Sysctl(&[("net.ipv4.icmp_echo_ignore_broadcasts", "1")]),
    ),
    rule(
        "linux-3.2.6",
        "wrong answers of ICMP are ignored",
        Sysctl(&[("net.ipv4.icmp_ignore_bogus_error_responses", "1")]),
    ),
    rule(
        "linux-3.2.7",
        "senders are checked strictly",
        Exempt("loosely: packets of pods come by other ways than they go"),
    ),
    rule("linux-3.2.8", "floods of connections are borne", Sysctl(&[("net.ipv4.tcp_syncookies", "1")])),
    rule(
        "linux-3.2.9",
        "routers' advertisements are not taken",
        Exempt("machines with IPv6 get their addresses and routes so"),
    ),
    rule("linux-3.3.1", "TCP wrappers are installed", Never(WRAPPERS)),
    rule("linux-3.3.2", "/etc/hosts.allow is set", Never(WRAPPERS)),
    rule("linux-3.3.3", "/etc/hosts.deny is set", Never(WRAPPERS)),
    rule("linux-3.3.4", "only root may write /etc/hosts.allow", Mode("etc/hosts.allow", 0o644)),
    rule("linux-3.3.5", "only root may write /etc/hosts.deny", Mode("etc/hosts.deny", 0o644)),
    rule("linux-3.4.1", "DCCP cannot be used", NoModule("dccp")),
    rule("linux-3.4.2", "SCTP cannot be used", Exempt("services of a cluster may speak it")),
    rule("linux-3.4.3", "RDS cannot be used", NoModule("rds")),
    rule("linux-3.4.4", "TIPC cannot be used", NoModule("tipc")),
    rule("linux-3.5.1", "a firewall refuses what nobody allows, IPv6", Never(FIREWALL)),
    rule("linux-3.5.2", "a firewall refuses what nobody allows, IPv4", Never(FIREWALL)),
    rule("linux-3.5.3", "iptables is installed", By(iptables)),
    rule("linux-3.6", "there is no wireless network", Never(RUNNING)),
    rule("linux-3.7", "IPv6 is off where nobody uses it", Never("the cluster decides")),
    rule(
        "linux-4.1.1.1",
        "the size of auditd's log is chosen",
        By(|image| auditd(image, "max_log_file", &[])),
    ),
    rule(
        "linux-4.1.1.2",
        "a full log of auditd stops the machine",
        By(|image| auditd(image, "admin_space_left_action", &["halt", "single"])),
    ),
    rule(
        "linux-4.1.1.3",
        "auditd's logs are kept",
        By(|image| auditd(image, "max_log_file_action", &["keep_logs"])),
    ),
    rule("linux-4.1.2", "auditd is installed", By(auditd_installed)),
    rule("linux-4.1.3", "auditd is enabled", By(auditd_enabled)),
    rule("linux-4.1.4", "what starts before auditd is followed", By(audited_at_boot)),
    rule(
        "linux-4.1.5",
        "changes of the clock are recorded",
        Audit(&["adjtimex", "settimeofday", "clock_settime"], &["/etc/localtime"]),
    ),
    rule(
        "linux-4.1.6",
        "changes of accounts are recorded",
        Audit(&[], &["/etc/group", "/etc/passwd", "/etc/gshadow", "/etc/shadow", "/etc/security/opasswd"]),
    ),
    rule(
        "linux-4.1.7",
        "changes of the network's settings are recorded",
        Audit(&["sethostname", "setdomainname"], &["/etc/issue", "/etc/hosts"]),
    ),
    rule("linux-4.1.8", "changes of AppArmor or SELinux are recorded", Audit(&[], &["/etc/apparmor.d"])),
    rule("linux-4.1.9", "logins are recorded", Audit(&[], &["/var/log/lastlog"])),
    rule(
        "linux-4.1.10",
        "sessions are recorded",
        Audit(&[], &["/var/run/utmp", "/var/log/wtmp", "/var/log/btmp"]),
    ),
    rule(
        "linux-4.1.11",
        "changes of modes and owners are recorded",
        Audit(&["chmod", "fchmodat", "chown", "fchownat", "setxattr"], &[]),
    ),
    rule(
        "linux-4.1.12",
        "refused openings of files are recorded",
        Audit(&["open", "openat", "truncate"], &[]),
    ),
    rule("linux-4.1.13", "uses of setuid programs are recorded", Audit(&["execve"], &[])),
    rule("linux-4.1.14", "mounts are recorded", Audit(&["mount"], &[])),
    rule("linux-4.1.15", "deletions are recorded", Audit(&["unlinkat", "renameat"], &[])),
    rule(
        "linux-4.1.16",
        "changes of who may become root are recorded",
        Audit(&[], &["/etc/sudoers", "/etc/sudoers.d"]),
    ),
    rule("linux-4.1.17", "what administrators do is recorded", Audit(&["execve"], &[])),
    rule("linux-4.1.18", "loadings of modules are recorded", Audit(&["init_module", "delete_module"], &[])),
    rule("linux-4.1.19", "auditd's rules cannot be changed", By(audit_locked)),
    rule("linux-4.2.1", "rsyslog keeps the logs", Exempt(JOURNAL)),
    rule("linux-4.2.2.1", "the journal hands its lines to rsyslog", Exempt(JOURNAL)),
    rule("linux-4.2.2.2", "the journal is compressed", By(|image| journal(image, "Compress", &["", "yes"]))),
    rule(
        "linux-4.2.2.3",
        "the journal is kept on disk",
        By(|image| journal(image, "Storage", &["persistent"])),
    ),
    rule("linux-4.2.3", "logs are not for all", Check("leftover")),
    rule("linux-4.3", "logs are rotated", Exempt(JOURNAL)),
    rule("linux-5.1.1", "cron runs", Exempt("timers of systemd start what is due")),
    rule("linux-5.1.2", "/etc/crontab is for root alone", Mode("etc/crontab", 0o600)),
    rule("linux-5.1.3", "/etc/cron.hourly is for root alone", Mode("etc/cron.hourly", 0o700)),
    rule("linux-5.1.4", "/etc/cron.daily is for root alone", Mode("etc/cron.daily", 0o700)),
    rule("linux-5.1.5", "/etc/cron.weekly is for root alone", Mode("etc/cron.weekly", 0o700)),
    rule("linux-5.1.6", "/etc/cron.monthly is for root alone", Mode("etc/cron.monthly", 0o700)),
    rule("linux-5.1.7", "/etc/cron.d is for root alone", Mode("etc/cron.d", 0o700)),
    rule("linux-5.1.8", "only some may use cron and at", By(cron_allowed)),
    rule("linux-5.2.1", "sshd's configuration is for root alone", By(ssh_file)),
    rule("linux-5.2.2", "private host keys are for root alone", Check("identity")),
    rule("linux-5.2.3", "only root may write public host keys", Check("identity")),
    rule("linux-5.2.4", "SSH speaks version 2", Ssh("protocol", "2", Wanted::Is("2"))),
    rule(
        "linux-5.2.5",
        "sshd logs who comes",
        Ssh("loglevel", "INFO", Wanted::Not(&["QUIET", "FATAL", "ERROR", "DEBUG3"])),
    ),
    rule("linux-5.2.6", "X11 is not forwarded", Ssh("x11forwarding", "no", Wanted::Is("no"))),
    rule("linux-5.2.7", "a connection has four tries", Ssh("maxauthtries", "6", Wanted::AtMost(4))),
    rule("linux-5.2.8", ".rhosts does not count", Ssh("ignorerhosts", "yes", Wanted::Is("yes"))),
    rule("linux-5.2.9", "hosts are not trusted", Ssh("hostbasedauthentication", "no", Wanted::Is("no"))),
    rule(
        "linux-5.2.10",
        "root does not log in by SSH",
        Ssh("permitrootlogin", "prohibit-password", Wanted::Is("no")),
    ),
    rule(
        "linux-5.2.11",
        "nobody comes without a password",
        Ssh("permitemptypasswords", "no", Wanted::Is("no")),
    ),
    rule(
        "linux-5.2.12",
        "nobody brings an environment",
        Ssh("permituserenvironment", "no", Wanted::Is("no")),
    ),
    rule(
        "linux-5.2.13",
        "ciphers are strong",
        By(|image| weak(image, "ciphers", &["cbc", "arcfour", "3des"])),
    ),
    rule(
        "linux-5.2.14",
        "codes of messages are strong",
        By(|image| weak(image, "macs", &["md5", "sha1", "umac-64"])),
    ),
    rule("linux-5.2.15", "exchanges of keys are strong", By(|image| weak(image, "kexalgorithms", &["sha1"]))),
    rule("linux-5.2.16", "idle sessions end", Ssh("clientaliveinterval", "0", Wanted::AtMost(300))),
    rule("linux-5.2.17", "a login takes a minute at most", Ssh("logingracetime", "120", Wanted::AtMost(60))),
    rule("linux-5.2.18", "only some may come", By(ssh_users)),
    rule("linux-5.2.19", "a banner warns", Ssh("banner", "none", Wanted::Not(&["none"]))),
    rule("linux-5.2.20", "sshd asks PAM", Ssh("usepam", "no", Wanted::Is("yes"))),
    rule("linux-5.2.21", "connections are not forwarded", Ssh("allowtcpforwarding", "yes", Wanted::Is("no"))),
    rule(
        "linux-5.2.22",
        "unfinished logins are bounded",
        Ssh("maxstartups", "10:30:100", Wanted::Is("10:30:60")),
    ),
    rule("linux-5.2.23", "sessions are bounded", Ssh("maxsessions", "10", Wanted::AtMost(4))),
    rule("linux-5.3", "passwords are long, new and slow to guess", Never(NO_PASSWORDS)),
    rule("linux-5.4.1", "passwords end", Never(NO_PASSWORDS)),
    rule("linux-5.4.2", "accounts of the system cannot log in", By(system_accounts)),
    rule("linux-5.4.3", "root's group is 0", By(root_group)),
    rule("linux-5.4.4", "new files are not for all (umask)", By(umask)),
    rule("linux-5.4.5", "idle shells end", By(shell_timeout)),
    rule("linux-5.5", "root logs in at known consoles alone", Never("root has no password")),
    rule("linux-5.6", "only some may use su", By(su)),
    rule("linux-6.1.1", "packages' files are as they were packed", Check("package-file")),
    rule("linux-6.1.2", "only root may write /etc/passwd", Mode("etc/passwd", 0o644)),
    rule("linux-6.1.3", "/etc/shadow is not for all", Mode("etc/shadow", 0o640)),
    rule("linux-6.1.4", "only root may write /etc/group", Mode("etc/group", 0o644)),
    rule("linux-6.1.5", "/etc/gshadow is not for all", Mode("etc/gshadow", 0o640)),
    rule("linux-6.1.6", "only root may write /etc/passwd-", Mode("etc/passwd-", 0o644)),
    rule("linux-6.1.7", "/etc/shadow- is not for all", Mode("etc/shadow-", 0o640)),
    rule("linux-6.1.8", "only root may write /etc/group-", Mode("etc/group-", 0o644)),
    rule("linux-6.1.9", "/etc/gshadow- is not for all", Mode("etc/gshadow-", 0o640)),
    rule("linux-6.1.10", "no file may be written by all", Check("world-writable")),
    rule("linux-6.1.11", "each file has an owner", Check("owner")),
    rule("linux-6.1.12", "each file has a group", Check("owner")),
    rule("linux-6.1.13", "setuid programs are known", Check("setuid")),
    rule("linux-6.1.14", "setgid programs are known", Check("setuid")),
    rule("linux-6.2.1", "no account needs no password", Check("password")),
    rule(
        "linux-6.2.2",
        "/etc/passwd takes no accounts from elsewhere",
        By(|image| plus(image, "etc/passwd")),
    ),
    rule(
        "linux-6.2.3",
        "/etc/shadow takes no accounts from elsewhere",
        By(|image| plus(image, "etc/shadow")),
    ),
    rule("linux-6.2.4", "/etc/group takes no groups from elsewhere", By(|image| plus(image, "etc/group"))),
    rule("linux-6.2.5", "root alone has the number 0", Check("account")),
    rule("linux-6.2.6", "root's search path is sound", Never(RUNNING)),
    rule("linux-6.2.7", "accounts have homes", Never("nobody logs in to a node")),
    rule("linux-6.2.8", "homes are not for all", Mode("home/*", 0o750)),
    rule("linux-6.2.9", "homes belong to their users", Never("nobody logs in to a node")),
    rule("linux-6.2.10", "only users write the settings in their homes", Check("world-writable")),
    rule("linux-6.2.11", "no home has a .forward", NoFile(".forward")),
    rule("linux-6.2.12", "no home has a .netrc", NoFile(".netrc")),
    rule("linux-6.2.13", "no .netrc is for all", NoFile(".netrc")),
    rule("linux-6.2.14", "no home has a .rhosts", NoFile(".rhosts")),
    rule("linux-6.2.15", "each account's group is there", By(groups_exist)),
    rule("linux-6.2.16", "no two accounts have one number", By(|image| twice(image, "etc/passwd", 2))),
    rule("linux-6.2.17", "no two groups have one number", By(|image| twice(image, "etc/group", 2))),
    rule("linux-6.2.18", "no two accounts have one name", By(|image| twice(image, "etc/passwd", 0))),
    rule("linux-6.2.19", "no two groups have one name", By(|image| twice(image, "etc/group", 0))),
    rule("linux-6.2.20", "nobody is in the group shadow", By(shadow_group)),
];

fn confinement(image: &Settings<'_>) -> Outcome {
    let has = ["usr/sbin/apparmor_parser", "usr/sbin/load_policy"]
        .iter()
        .any(|path| exists(image.subject, path));
    passed_unless((!has).then(|| finding("neither", "apparmor_parser or a policy of SELinux", "/usr/sbin")))
}

fn confined_at_boot(image: &Settings<'_>) -> Outcome {
    const OFF: [&str; 4] = ["apparmor=0", "selinux=0", "enforcing=0", "security=none"];
    boot(image, |words| {
        let off = words.iter().find(|word| OFF.contains(word));
        off.map(|word| finding(*word, "none of apparmor=0, selinux=0, enforcing=0", "kernel command line"))
    })
}

fn audited_at_boot(image: &Settings<'_>) -> Outcome {
    boot(image, |words| {
        (!words.contains(&"audit=1")).then(|| finding("not set", "audit=1", "kernel command line"))
    })
}

/// Passed if `wrong` finds nothing in any entry of the boot partition.
fn boot(image: &Settings<'_>, wrong: impl Fn(&[&str]) -> Option<Outcome>) -> Outcome {
    let lines = &image.subject.command_lines;
    if lines.is_empty() {
        return not_checked("the image has no boot partition");
    }
    let words = |line: &'_ String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    passed_unless(lines.iter().find_map(|line| {
        let words = words(line);
        wrong(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }))
}

/// Escapes of agetty(8) that tell versions, and the system's name.
fn banner(image: &Settings<'_>, path: &str) -> Outcome {
    const ESCAPES: [&str; 5] = ["\\m", "\\r", "\\s", "\\v", "\\S"];
    let Some(text) = image.subject.text(path) else { return Outcome::Passed };
    let name = image.subject.tree.os_release("NAME").unwrap_or_default();
    let name = name.split_whitespace().next().unwrap_or_default();
    let tells = |line: &&str| {
        ESCAPES.iter().any(|escape| line.contains(escape)) || (!name.is_empty() && line.contains(name))
    };
    let told = text.lines().find(tells);
    passed_unless(told.map(|line| finding(line, "no name and version of the system", format!("/{path}"))))
}

fn enabled(image: &Settings<'_>, names: &[&str]) -> bool {
    let states = units::states(&image.subject.tree);
    names.iter().any(|name| states.get(*name).is_some_and(|state| state.contains("wants it")))
}

fn clock(image: &Settings<'_>) -> Outcome {
    let runs =
        enabled(image, &["systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntpsec.service"]);
    passed_unless(
        (!runs).then(|| {
            finding("no such unit is enabled", "systemd-timesyncd or chrony", "/etc/systemd/system")
        }),
    )
}

fn iptables(image: &Settings<'_>) -> Outcome {
    let has = ["usr/sbin/iptables", "usr/sbin/nft"].iter().any(|path| exists(image.subject, path));
    passed_unless((!has).then(|| finding("neither", "iptables or nft", "/usr/sbin")))
}

fn auditd_installed(image: &Settings<'_>) -> Outcome {
    passed_unless(image.audit.is_none().then(|| finding("not installed", "auditd", "/usr/sbin/auditd")))
}

fn auditd_enabled(image: &Settings<'_>) -> Outcome {
    let runs = image.audit.is_some() && enabled(image, &["auditd.service"]);
    passed_unless((!runs).then(|| finding("not enabled", "auditd.service", "/etc/systemd/system")))
}

/// auditd.conf(5); no `wanted` means any value.
fn auditd(image: &Settings<'_>, name: &str, wanted: &[&str]) -> Outcome {
    const PATH: &str = "etc/audit/auditd.conf";
    let expected = if wanted.is_empty() { "a value".to_owned() } else { wanted.join(" or ") };
    let text = image.subject.text(PATH).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim().to_ascii_lowercase())
    });
    match value {
        Some(value) if wanted.is_empty() || wanted.contains(&value.as_str()) => Outcome::Passed,
        Some(value) => finding(format!("{name} = {value}"), expected, format!("/{PATH}")),
        None => finding(format!("{name} is not set"), expected, format!("/{PATH}")),
    }
}

/// augenrules(8) puts the last `-e` behind all other rules.
fn audit_locked(image: &Settings<'_>) -> Outcome {
    let last = image
        .audit
        .iter()
        .flatten()
        .rfind(|rule| rule.starts_with("-e "))
        .map_or("no -e", String::as_str);
    passed_unless((last != "-e 2").then(|| finding(last, "-e 2", "/etc/audit/rules.d")))
}

/// journald.conf(5), and its folder: with `Storage=auto` the journal is on disk if the folder is there.
fn journal(image: &Settings<'_>, name: &str, wanted: &[&str]) -> Outcome {
    let mut found = (String::new(), "etc/systemd/journald.conf".to_owned());
    let subject = image.subject;
    let main = ["usr/lib/systemd/journald.conf", "etc/systemd/journald.conf"];
    let main = main.iter().filter_map(|path| Some(((*path).to_owned(), subject.text(path)?)));
    let folders = ["usr/lib/systemd/journald.conf.d", "etc/systemd/journald.conf.d"];
    let drop_ins = folders.iter().flat_map(|folder| subject.texts(folder));
    for (path, text) in main.chain(drop_ins.map(|(path, text)| (path.to_owned(), text))) {
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                found = (value.trim().to_owned(), path.clone());
            }
        }
    }
    let is_there = name == "Storage" && found.0 != "volatile" && exists(subject, "var/log/journal");
    let is_met = is_there || wanted.contains(&found.0.as_str());
    passed_unless((!is_met).then(|| {
        let value = if found.0.is_empty() { "not set".to_owned() } else { found.0.clone() };
        finding(format!("{name}: {value}"), wanted.join(" or "), format!("/{}", found.1))
    }))
}

fn cron_allowed(image: &Settings<'_>) -> Outcome {
    if !exists(image.subject, "usr/sbin/cron") && !exists(image.subject, "usr/bin/at") {
        return not_checked("the image has neither cron nor at");
    }
    let has = ["etc/cron.allow", "etc/at.allow"].iter().all(|path| exists(image.subject, path));
    passed_unless((!has).then(|| finding("no list", "/etc/cron.allow and /etc/at.allow", "/etc")))
}

fn ssh_file(image: &Settings<'_>) -> Outcome {
    match image.ssh("port") {
        None => not_checked("the image has no SSH server"),
        Some(_) => Look::Mode("etc/ssh/sshd_config", 0o600).at(image),
    }
}

fn ssh_users(image: &Settings<'_>) -> Outcome {
    const NAMES: [&str; 4] = ["allowusers", "allowgroups", "denyusers", "denygroups"];
    if image.ssh("port").is_none() {
        return not_checked("the image has no SSH server");
    }
    let has = NAMES.iter().any(|name| image.ssh(name).flatten().is_some());
    passed_unless((!has).then(|| finding("not set", "AllowUsers or AllowGroups", "sshd_config")))
}

/// OpenSSH's own lists are strong, so only a list that is set can be weak.
fn weak(image: &Settings<'_>, name: &str, words: &[&str]) -> Outcome {
    let Some(set) = image.ssh(name) else { return not_checked("the image has no SSH server") };
    let weak = set.and_then(|set| {
        // A list that begins with a minus takes away.
        let list = if set.value.starts_with('-') { "" } else { set.value.as_str() };
        let one = list.split(',').find(|one| words.iter().any(|word| one.contains(word)))?;
        Some(finding(one, format!("none with {}", words.join(", ")), &set.path))
    });
    passed_unless(weak)
}

/// The lines of a table such as `/etc/passwd`, as fields.
fn table(image: &Settings<'_>, path: &str) -> Vec<Vec<String>> {
    let text = image.subject.text(path).unwrap_or_default();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

fn system_accounts(image: &Settings<'_>) -> Outcome {
    const ALONE: [&str; 4] = ["root", "sync", "shutdown", "halt"];
    const LARGEST_SYSTEM: u32 = 999;
    let can_log_in = |row: &&Vec<String>| {
        let [name, _, uid, .., shell] = row.as_slice() else { return false };
        uid.parse::<u32>().is_ok_and(|uid| uid <= LARGEST_SYSTEM)
            && !ALONE.contains(&name.as_str())
            && !["/nologin", "/false"].iter().any(|end| shell.ends_with(end))
    };
    let rows = table(image, "etc/passwd");
    passed_unless(rows.iter().find(can_log_in).map(|row| {
        let shell = row.last().map_or("", String::as_str);
        finding(format!("{} has the shell {shell}", row[0]), "nologin", "/etc/passwd")
    }))
}

fn root_group(image: &Settings<'_>) -> Outcome {
    let rows = table(image, "etc/passwd");
    let wrong = rows.iter().find(|row| row[0] == "root" && row.get(3).is_none_or(|group| group != "0"));
    passed_unless(wrong.map(|row| finding(row.join(":"), "the group 0", "/etc/passwd")))
}

/// Of login.defs(5), and of the shells' own settings.
fn umask(image: &Settings<'_>) -> Outcome {
    const PATH: &str = "etc/login.defs";
    let is_strict =
        |value: &str| u32::from_str_radix(value.trim(), 8).is_ok_and(|mask| mask & 0o027 == 0o027);
    let set = |text: &str, key: &str| text.lines().find_map(|line| line.strip_prefix(key).map(str::to_owned));
    let own = image.subject.texts("etc/profile.d").find_map(|(_, text)| set(&text, "umask "));
    let found = own.or_else(|| set(&image.subject.text(PATH)?, "UMASK"));
    match found {
        Some(value) if is_strict(&value) => Outcome::Passed,
        Some(value) => finding(value.trim(), "027 or stricter", format!("/{PATH}")),
        None => finding("not set", "027 or stricter", format!("/{PATH}")),
    }
}

fn shell_timeout(image: &Settings<'_>) -> Outcome {
    const LONGEST: u32 = 900;
    let seconds = |text: &str| {
        let value = text
            .lines()
            .find_map(|line| line.split_once("TMOUT=").map(|(_, value)| value.to_owned()))?;
        value.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok()
    };
    let main = image.subject.text("etc/profile").and_then(|text| seconds(&text));
    let found = main.or_else(|| image.subject.texts("etc/profile.d").find_map(|(_, text)| seconds(&text)));
    match found {
        Some(time) if (1..=LONGEST).contains(&time) => Outcome::Passed,
        Some(time) => finding(format!("TMOUT={time}"), "TMOUT=900 or less", "/etc/profile.d"),
        None => finding("TMOUT is not set", "TMOUT=900 or less", "/etc/profile.d"),
    }
}

fn su(image: &Settings<'_>) -> Outcome {
    let Some(text) = image.subject.text("etc/pam.d/su") else { return not_checked("the image has no su") };
    let is_bound = text
        .lines()
        .map(str::trim)
        .any(|line| !line.starts_with('#') && line.contains("pam_wheel.so"));
    passed_unless((!is_bound).then(|| finding("anybody may", "pam_wheel.so", "/etc/pam.d/su")))
}

fn plus(image: &Settings<'_>, path: &str) -> Outcome {
    let rows = table(image, path);
    let found = rows.iter().find(|row| row[0].starts_with('+'));
    passed_unless(found.map(|row| finding(row.join(":"), "no line with +", format!("/{path}"))))
}

fn groups_exist(image: &Settings<'_>) -> Outcome {
    let groups: Vec<String> =
        table(image, "etc/group").into_iter().filter_map(|row| row.into_iter().nth(2)).collect();
    let rows = table(image, "etc/passwd");
    let lost = rows.iter().find(|row| row.get(3).is_some_and(|group| !groups.contains(group)));
    passed_unless(lost.map(|row| {
        finding(format!("{} has the group {}", row[0], row[3]), "a group of /etc/group", "/etc/passwd")
    }))
}

/// Two lines with the same field.
fn twice(image: &Settings<'_>, path: &str, field: usize) -> Outcome {
    let mut seen = std::collections::BTreeSet::new();
    let values = table(image, path).into_iter().filter_map(|row| row.into_iter().nth(field));
    let double = values.filter(|value| !value.is_empty()).find(|value| !seen.insert(value.clone()));
    passed_unless(double.map(|value| finding(format!("{value} twice"), "once", format!("/{path}"))))
}

fn shadow_group(image: &Settings<'_>) -> Outcome {
    let rows = table(image, "etc/group");
    let members = rows.iter().find(|row| row[0] == "shadow").and_then(|row| row.get(3));
    passed_unless(
        members
            .filter(|members| !members.is_empty())
            .map(|members| finding(members, "nobody", "/etc/group")),
    )
}
