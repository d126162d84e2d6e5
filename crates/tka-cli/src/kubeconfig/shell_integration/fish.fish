# The command tka: lets PROGRAM set KUBECONFIG in this shell.
function tka --description 'Kubernetes clusters over the tailnet'
    set --local tka_file ~/.kube/tka/.export-$fish_pid-(random).fish
    TKA_EXPORT_FILE=$tka_file command PROGRAM $argv
    set --local tka_status $status
    if test -f $tka_file -a -O $tka_file
        source $tka_file
        command rm -f $tka_file
    end
    return $tka_status
end
