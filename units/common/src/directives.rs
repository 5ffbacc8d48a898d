//! Which directives systemd knows, up to version 257.
//!
//! A key that is not carried out is either one of these (reported as unsupported, so that a person
//! sees what the unit asks for and does not get) or unknown (most likely a typing error). The
//! names are sorted strings, one for each group that belongs together; a section is a handful of
//! groups. A directive we do carry out need not be looked up here at all.

/// What there is to say of a section and key that were not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// systemd knows it.
    Known,
    /// systemd ignores it on purpose: its name begins with `X-`.
    Private,
    /// systemd has the section, not the key.
    UnknownKey,
    /// systemd has no such section.
    UnknownSection,
}

/// What is known of this key in this section.
pub fn standing(section: &str, key: &str) -> Standing {
    if section.starts_with("X-") || key.starts_with("X-") {
        return Standing::Private;
    }
    let Some(groups) = groups(section) else {
        return Standing::UnknownSection;
    };
    let condition = section == "Unit"
        && key
            .strip_prefix("Condition")
            .or_else(|| key.strip_prefix("Assert"))
            .is_some_and(|kind| crate::spec::ConditionKind::from_name(kind).is_some());
    if condition || groups.iter().any(|group| contains(group, key)) {
        Standing::Known
    } else {
        Standing::UnknownKey
    }
}

/// Whether systemd knows this key in this section.
pub fn is_known(section: &str, key: &str) -> bool {
    standing(section, key) == Standing::Known
}

/// Every key systemd knows in a section, conditions apart; none if it has no such section.
pub fn names(section: &str) -> impl Iterator<Item = &'static str> {
    let groups = groups(section).unwrap_or_default();
    groups.iter().flat_map(|group| group.split(' '))
}

/// The section of a unit type that is systemd's own; `None` for targets, devices and the types it
/// does not have.
pub fn own_section(unit_type: &str) -> Option<&'static str> {
    Some(match unit_type {
        "service" => "Service",
        "socket" => "Socket",
        "mount" => "Mount",
        "automount" => "Automount",
        "swap" => "Swap",
        "timer" => "Timer",
        "path" => "Path",
        "slice" => "Slice",
        "scope" => "Scope",
        _ => return None,
    })
}

fn groups(section: &str) -> Option<&'static [&'static str]> {
    Some(match section {
        "Unit" => &[UNIT],
        "Install" => &[INSTALL],
        "Service" => &[SERVICE, EXEC, KILL, RESOURCE],
        "Socket" => &[SOCKET, EXEC, KILL, RESOURCE],
        "Mount" => &[MOUNT, EXEC, KILL, RESOURCE],
        "Swap" => &[SWAP, EXEC, KILL, RESOURCE],
        "Automount" => &[AUTOMOUNT],
        "Timer" => &[TIMER],
        "Path" => &[PATH],
        "Slice" => &[RESOURCE],
        "Scope" => &[SCOPE, KILL, RESOURCE],
        _ => return None,
    })
}

/// Whether a sorted list of names separated by spaces holds this one.
fn contains(list: &str, name: &str) -> bool {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = (low + high) / 2;
        // The whole name around the middle.
        let begin = list
            .get(..middle)
            .and_then(|s| s.rfind(' '))
            .map_or(0, |at| at + 1);
        let tail = list.get(begin..).unwrap_or("");
        let found = tail.split(' ').next().unwrap_or("");
        match found.cmp(name) {
            core::cmp::Ordering::Equal => return true,
            core::cmp::Ordering::Less => low = begin + found.len() + 1,
            core::cmp::Ordering::Greater => high = begin.saturating_sub(1),
        }
    }
    false
}

/// `[Unit]`.
const UNIT: &str = "\
    After AllowIsolate Before BindTo BindsTo CollectMode Conflicts DefaultDependencies \
    Description Documentation FailureAction FailureActionExitStatus IgnoreOnIsolate \
    JobRunningTimeoutSec JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec \
    JoinsNamespaceOf OnFailure OnFailureIsolate OnFailureJobMode OnSuccess OnSuccessJobMode \
    PartOf PropagateReloadFrom PropagateReloadTo PropagatesReloadTo PropagatesStopTo \
    RebootArgument RefuseManualStart RefuseManualStop ReloadPropagatedFrom Requires \
    RequiresMountsFor RequiresOverridable Requisite RequisiteOverridable SourcePath \
    StartLimitAction StartLimitBurst StartLimitInterval StartLimitIntervalSec StopPropagatedFrom \
    StopWhenUnneeded SuccessAction SuccessActionExitStatus SurviveFinalKillSignal Upholds Wants \
    WantsMountsFor";

/// `[Install]`.
const INSTALL: &str = "\
    Alias Also DefaultInstance RequiredBy UpheldBy WantedBy";

/// `[Service]` alone.
const SERVICE: &str = "\
    BusName BusPolicy ExecCondition ExecReload ExecStart ExecStartPost ExecStartPre ExecStop \
    ExecStopPost ExitType FailureAction FileDescriptorStoreMax FileDescriptorStorePreserve \
    GuessMainPID NonBlocking NotifyAccess OOMPolicy OpenFile PIDFile PermissionsStartOnly \
    RebootArgument ReloadSignal RemainAfterExit Restart RestartForceExitStatus \
    RestartMaxDelaySec RestartMode RestartPreventExitStatus RestartSec RestartSteps \
    RootDirectoryStartOnly RuntimeMaxSec RuntimeRandomizedExtraSec Sockets StartLimitAction \
    StartLimitBurst StartLimitInterval SuccessAction SuccessExitStatus TimeoutAbortSec \
    TimeoutSec TimeoutStartFailureMode TimeoutStartSec TimeoutStopFailureMode TimeoutStopSec \
    Type USBFunctionDescriptors USBFunctionStrings WatchdogSec";

/// `[Socket]` alone.
const SOCKET: &str = "\
    Accept AcceptFileDescriptors Backlog BindIPv6Only BindToDevice Broadcast DeferAcceptSec \
    DirectoryMode ExecStartPost ExecStartPre ExecStopPost ExecStopPre FileDescriptorName \
    FlushPending FreeBind IPTOS IPTTL KeepAlive KeepAliveIntervalSec KeepAliveProbes \
    KeepAliveTimeSec ListenDatagram ListenFIFO ListenMessageQueue ListenNetlink \
    ListenSequentialPacket ListenSpecial ListenStream ListenUSBFunction Mark MaxConnections \
    MaxConnectionsPerSource MessageQueueMaxMessages MessageQueueMessageSize NoDelay \
    PassCredentials PassFileDescriptorsToExec PassPacketInfo PassSecurity PipeSize \
    PollLimitBurst PollLimitIntervalSec Priority ReceiveBuffer RemoveOnStop ReusePort \
    SELinuxContextFromNet SendBuffer Service SmackLabel SmackLabelIPIn SmackLabelIPOut \
    SocketGroup SocketMode SocketProtocol SocketUser Symlinks TCPCongestion TimeoutSec \
    Timestamping Transparent TriggerLimitBurst TriggerLimitIntervalSec Writable";

/// `[Mount]` alone.
const MOUNT: &str = "\
    DirectoryMode ForceUnmount LazyUnmount Options ReadWriteOnly SloppyOptions TimeoutSec Type \
    What Where";

/// `[Automount]` alone.
const AUTOMOUNT: &str = "\
    DirectoryMode ExtraOptions TimeoutIdleSec Where";

/// `[Swap]` alone.
const SWAP: &str = "\
    Options Priority TimeoutSec What";

/// `[Timer]` alone.
const TIMER: &str = "\
    AccuracySec DeferReactivation FixedRandomDelay OnActiveSec OnBootSec OnCalendar \
    OnClockChange OnStartupSec OnTimezoneChange OnUnitActiveSec OnUnitInactiveSec Persistent \
    RandomizedDelaySec RemainAfterElapse Unit WakeSystem";

/// `[Path]` alone.
const PATH: &str = "\
    DirectoryMode DirectoryNotEmpty MakeDirectory PathChanged PathExists PathExistsGlob \
    PathModified TriggerLimitBurst TriggerLimitIntervalSec Unit";

/// `[Scope]` alone.
const SCOPE: &str = "\
    OOMPolicy RuntimeMaxSec RuntimeRandomizedExtraSec TimeoutStopSec";

/// How processes are run: systemd.exec(5).
const EXEC: &str = "\
    AmbientCapabilities AppArmorProfile BindPaths BindReadOnlyPaths CPUAffinity \
    CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CacheDirectory \
    CacheDirectoryMode Capabilities CapabilityBoundingSet ConfigurationDirectory \
    ConfigurationDirectoryMode CoredumpFilter DynamicUser Environment EnvironmentFile ExecPaths \
    ExecSearchPath ExtensionDirectories ExtensionImagePolicy ExtensionImages Group \
    IOSchedulingClass IOSchedulingPriority IPCNamespacePath IgnoreSIGPIPE ImportCredential \
    InaccessibleDirectories InaccessiblePaths KeyringMode LimitAS LimitCORE LimitCPU LimitDATA \
    LimitFSIZE LimitLOCKS LimitMEMLOCK LimitMSGQUEUE LimitNICE LimitNOFILE LimitNPROC LimitRSS \
    LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK LoadCredential LoadCredentialEncrypted \
    LockPersonality LogExtraFields LogFilterPatterns LogLevelMax LogNamespace LogRateLimitBurst \
    LogRateLimitIntervalSec LogsDirectory LogsDirectoryMode MemoryDenyWriteExecute MemoryKSM \
    MountAPIVFS MountFlags MountImagePolicy MountImages NUMAMask NUMAPolicy NetworkNamespacePath \
    Nice NoExecPaths NoNewPrivileges OOMScoreAdjust PAMName PassEnvironment Personality \
    PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivatePIDs PrivateTmp PrivateUsers \
    ProcSubset ProtectClock ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs \
    ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyDirectories \
    ReadOnlyPaths ReadWriteDirectories ReadWritePaths RemoveIPC RestrictAddressFamilies \
    RestrictFileSystems RestrictNamespaces RestrictRealtime RestrictSUIDSGID RootDirectory \
    RootEphemeral RootHash RootHashSignature RootImage RootImageOptions RootImagePolicy \
    RootVerity RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve SELinuxContext \
    SecureBits SetCredential SetCredentialEncrypted SetLoginEnvironment SmackProcessLabel \
    StandardError StandardInput StandardInputData StandardInputText StandardOutput \
    StateDirectory StateDirectoryMode SupplementaryGroups SyslogFacility SyslogIdentifier \
    SyslogLevel SyslogLevelPrefix SystemCallArchitectures SystemCallErrorNumber SystemCallFilter \
    SystemCallLog TTYColumns TTYPath TTYReset TTYRows TTYVHangup TTYVTDisallocate \
    TemporaryFileSystem TimeoutCleanSec TimerSlackNSec UMask UnsetEnvironment User \
    UtmpIdentifier UtmpMode WorkingDirectory";

/// How processes are ended: systemd.kill(5).
const KILL: &str = "\
    FinalKillSignal KillMode KillSignal RestartKillSignal SendSIGHUP SendSIGKILL WatchdogSignal";

/// What control groups do: systemd.resource-control(5).
const RESOURCE: &str = "\
    AllowedCPUs AllowedMemoryNodes BPFProgram BlockIOAccounting BlockIODeviceWeight \
    BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth CPUAccounting CPUQuota \
    CPUQuotaPeriodSec CPUShares CPUWeight CoredumpReceive DefaultMemoryLow DefaultMemoryMin \
    DefaultStartupMemoryLow Delegate DelegateSubgroup DeviceAllow DevicePolicy \
    DisableControllers IOAccounting IODeviceLatencyTargetSec IODeviceWeight IOReadBandwidthMax \
    IOReadIOPSMax IOWeight IOWriteBandwidthMax IOWriteIOPSMax IPAccounting IPAddressAllow \
    IPAddressDeny IPEgressFilterPath IPIngressFilterPath ManagedOOMMemoryPressure \
    ManagedOOMMemoryPressureDurationSec ManagedOOMMemoryPressureLimit ManagedOOMPreference \
    ManagedOOMSwap MemoryAccounting MemoryHigh MemoryLimit MemoryLow MemoryMax MemoryMin \
    MemoryPressureThresholdSec MemoryPressureWatch MemorySwapMax MemoryZSwapMax \
    MemoryZSwapWriteback NFTSet RestrictNetworkInterfaces Slice SocketBindAllow \
    SocketBindDeny StartupAllowedCPUs StartupAllowedMemoryNodes StartupBlockIOWeight \
    StartupCPUShares StartupCPUWeight StartupIOWeight StartupMemoryHigh StartupMemoryLow \
    StartupMemoryMax StartupMemorySwapMax StartupMemoryZSwapMax TasksAccounting TasksMax";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_sorted_and_every_name_found() {
        for list in [
            UNIT, INSTALL, SERVICE, SOCKET, MOUNT, AUTOMOUNT, SWAP, TIMER, PATH, SCOPE, EXEC, KILL,
            RESOURCE,
        ] {
            let names: Vec<&str> = list.split(' ').collect();
            assert!(names.windows(2).all(|w| w[0] < w[1]), "{names:?}");
            for name in names {
                assert!(contains(list, name), "{name}");
                assert!(!contains(list, &name[1..]), "{name}");
                assert!(!contains(list, &format!("{name}x")), "{name}");
            }
            assert!(!contains(list, "") && !contains(list, " ") && !contains(list, "zzz"));
        }
    }

    #[test]
    fn standings() {
        assert!(is_known("Service", "ExecStart") && is_known("Service", "PrivateTmp"));
        assert!(is_known("Service", "MemoryMax") && is_known("Service", "KillMode"));
        assert!(is_known("Unit", "ConditionPathExists") && is_known("Unit", "AssertHost"));
        assert!(is_known("Slice", "CPUWeight") && !is_known("Slice", "ExecStart"));
        assert_eq!(standing("Unit", "ConditionMoon"), Standing::UnknownKey);
        assert_eq!(standing("Service", "ExecStrat"), Standing::UnknownKey);
        assert_eq!(standing("Servcie", "ExecStart"), Standing::UnknownSection);
        assert_eq!(standing("X-Foo", "A"), Standing::Private);
        assert_eq!(standing("Unit", "X-Foo"), Standing::Private);
    }
}
