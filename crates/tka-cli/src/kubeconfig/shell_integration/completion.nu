# Completes tka and NAME, and leaves every other command to the completer that was there before.
let tka_others = $env.config?.completions?.external?.completer?
$env.config.completions.external.enable = true
$env.config.completions.external.completer = {|words|
    if ($words.0 in ["tka" "NAME"]) {
        with-env { TKA_COMPLETE: fish } { run-external "PROGRAM" "--" ...$words }
        | from tsv --flexible --noheaders --no-infer
        | rename value description
    } else if $tka_others != null {
        do $tka_others $words
    }
}
