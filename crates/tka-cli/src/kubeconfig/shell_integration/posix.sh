# The command tka: lets PROGRAM set KUBECONFIG in this shell.
function tka {
  local tka_file="${HOME-}/.kube/tka/.export-$$-$RANDOM$RANDOM.sh" tka_status=0
  TKA_EXPORT_FILE="$tka_file" command PROGRAM "$@" || tka_status=$?
  if [ -f "$tka_file" ] && [ -O "$tka_file" ]; then
    . "$tka_file"
    command rm -f "$tka_file"
  fi
  return "$tka_status"
}
