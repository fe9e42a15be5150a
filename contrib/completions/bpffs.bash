# Completion of bpffs for bash: source it, or put it into /etc/bash_completion.d.
_bpffs() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'mount umount status run' -- "$word"))
        return
    fi
    case $command in
        mount) COMPREPLY=($(compgen -W '--foreground' -- "$word") $(compgen -d -- "$word")) ;;
        umount) COMPREPLY=($(compgen -W "$(sed -n 's/^bpffs \([^ ]*\) fuse.bpffs .*/\1/p' /proc/mounts)" -- "$word")) ;;
        run)
            if [[ ${COMP_WORDS[COMP_CWORD - 1]} == -m ]]; then
                COMPREPLY=($(compgen -d -- "$word"))
            else
                COMPREPLY=($(compgen -W '-m --' -- "$word") $(compgen -c -- "$word"))
            fi
            ;;
    esac
}
complete -F _bpffs bpffs
