# The command tka: lets PROGRAM set KUBECONFIG in this shell. A pipeline has what ^PROGRAM prints, and not what this does.
def --env --wrapped tka [...rest] {
    let file = ("~/.kube/tka" | path expand | path join $".export-($nu.pid)-(random chars).json")
    $env.TKA_EXPORT_FILE = $file
    # How it ended is in LAST_EXIT_CODE.
    try { run-external "PROGRAM" ...$rest } catch { }
    hide-env TKA_EXPORT_FILE
    if ($file | path exists) {
        let set = (open $file | get KUBECONFIG)
        rm $file
        if $set == null { hide-env --ignore-errors KUBECONFIG } else { $env.KUBECONFIG = $set }
    }
}
