# Completion of sctl for bash.

_sctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word command=
    local options='--all --failed --type= --state= --property= --lines= --value --reverse --after --before
        --no-block --atomic --job-mode= --signal= --kill-whom= --now --runtime --preset-mode= --only= --trial= --root=
        --force --json --quiet
        --full --plain --no-legend --colour= --socket= --timeout= --help --version'
    local commands='status why plan list-units list-jobs crashes reconcile list-dependencies list-unit-files show cat is-active
        is-failed is-enabled is-system-running start stop restart try-restart reload
        reload-or-restart try-reload-or-restart isolate blame critical-chain boot-chart kill reset-failed cancel enable disable
        reenable preset preset-all mask unmask get-default set-default verify daemon-reload daemon-reexec
        upgrade default rescue emergency poweroff reboot halt kexec help version'

    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word != -* ]] && { command=$word; break; }
    done
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
        return
    fi
    case $prev in
        -t | --type) mapfile -t COMPREPLY < <(compgen -W 'service socket target mount timer path slice' -- "$cur"); return ;;
        --only) mapfile -t COMPREPLY < <(compgen -W 'sysmaster init helper' -- "$cur"); return ;;
        -s | --signal) mapfile -t COMPREPLY < <(compgen -A signal -- "$cur"); return ;;
    esac
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur") ;;
        enable | disable | reenable | preset | mask | unmask | is-enabled | cat)
            mapfile -t COMPREPLY < <(compgen -W "$(sctl list-unit-files --no-legend --plain 2> /dev/null | cut -d' ' -f1)" -- "$cur") ;;
        plan)
            if [[ $prev == plan ]]; then
                mapfile -t COMPREPLY < <(compgen -W 'start stop restart try-restart reload reload-or-restart try-reload-or-restart isolate' -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -W "$(sctl list-units --all --no-legend --plain 2> /dev/null | cut -d' ' -f1)" -- "$cur")
            fi ;;
        boot-chart) compopt -o default ;;
        isolate | set-default)
            mapfile -t COMPREPLY < <(compgen -W "$(sctl list-units --all --no-legend --plain -t target 2> /dev/null | cut -d' ' -f1)" -- "$cur") ;;
        cancel)
            mapfile -t COMPREPLY < <(compgen -W "$(sctl list-jobs --no-legend 2> /dev/null | awk '{print $2}')" -- "$cur") ;;
        verify | upgrade) compopt -o default ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "$(sctl list-units --all --no-legend --plain 2> /dev/null | cut -d' ' -f1)" -- "$cur") ;;
    esac
}
complete -F _sctl sctl
