# The command tka: lets PROGRAM set KUBECONFIG in this shell.
function tka {
    $file = "$HOME/.kube/tka/.export-$PID-$(Get-Random).ps1"
    $program = Get-Command -Name 'PROGRAM' -CommandType Application -ErrorAction Stop | Select-Object -First 1
    $env:TKA_EXPORT_FILE = $file
    try {
        & $program @args
    } finally {
        Remove-Item Env:TKA_EXPORT_FILE -ErrorAction SilentlyContinue
        if (Test-Path -LiteralPath $file) {
            Invoke-Expression (Get-Content -Raw -LiteralPath $file)
            Remove-Item -LiteralPath $file
        }
    }
}
