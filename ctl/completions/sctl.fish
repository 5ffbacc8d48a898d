# Completion of sctl for fish.

function __sctl_units
    sctl list-units --all --no-legend --plain 2>/dev/null | string replace -r ' .*' ''
end
function __sctl_files
    sctl list-unit-files --no-legend --plain 2>/dev/null | string replace -r ' .*' ''
end

set -l about_units status why show list-dependencies is-active is-failed start stop restart try-restart \
    reload reload-or-restart try-reload-or-restart isolate critical-chain kill reset-failed plan
set -l about_files enable disable reenable preset mask unmask is-enabled cat
set -l alone blame boot-chart preset-all list-units list-jobs crashes reconcile list-unit-files is-system-running cancel get-default set-default \
    verify daemon-reload daemon-reexec upgrade default rescue emergency poweroff reboot halt kexec help version

complete -c sctl -f
complete -c sctl -n __fish_use_subcommand -a "$about_units $about_files $alone"
complete -c sctl -n "__fish_seen_subcommand_from $about_units" -a '(__sctl_units)'
complete -c sctl -n "__fish_seen_subcommand_from $about_files" -a '(__sctl_files)'
complete -c sctl -n '__fish_seen_subcommand_from verify boot-chart upgrade' -F
complete -c sctl -n '__fish_seen_subcommand_from plan' -a 'start stop restart try-restart reload reload-or-restart try-reload-or-restart isolate'
complete -c sctl -s a -l all -d 'Also what is usually left out'
complete -c sctl -l failed -d 'Only units that have failed'
complete -c sctl -s t -l type -x -a 'service socket target mount timer path slice'
complete -c sctl -l state -x -a 'active inactive activating deactivating failed'
complete -c sctl -s n -l lines -x -d 'status: lines of output'
complete -c sctl -s p -l property -x
complete -c sctl -l value -d 'Values without names'
complete -c sctl -l reverse -d 'Who needs it'
complete -c sctl -l after -d 'Who comes earlier'
complete -c sctl -l before -d 'Who comes later'
complete -c sctl -l job-mode -x -a 'fail replace replace-irreversibly isolate flush ignore-dependencies ignore-requirements triggering restart-dependencies'
complete -c sctl -l no-block -d 'Do not wait for jobs'
complete -c sctl -l atomic -d 'All units or none'
complete -c sctl -s s -l signal -x -a 'TERM HUP INT KILL USR1 USR2 STOP CONT'
complete -c sctl -l kill-whom -x -a 'all main control'
complete -c sctl -l now -d 'Start or stop as well'
complete -c sctl -l runtime -d 'Until the next boot only'
complete -c sctl -l preset-mode -x -a 'full enable-only disable-only'
complete -c sctl -l only -x -a 'sysmaster init helper' -d 'What to upgrade'
complete -c sctl -l trial -x -d 'Seconds an upgrade has to prove good'
complete -c sctl -l root -r -d 'Work on the installation below this directory'
complete -c sctl -s f -l force -d 'Go through with it'
complete -c sctl -l json -d 'JSON'
complete -c sctl -s q -l quiet -d 'Errors only'
complete -c sctl -l full -d 'Shorten nothing'
complete -c sctl -l plain -d 'No dots, no tree lines'
complete -c sctl -l no-legend -d 'No headings, no totals'
complete -c sctl -l colour -x -a 'always never auto'
complete -c sctl -l socket -r -d 'The socket of the manager'
complete -c sctl -l timeout -x -d 'Seconds to wait for the manager'
