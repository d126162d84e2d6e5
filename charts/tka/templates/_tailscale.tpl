{{/*
What is about the tailscaled beside the server. Its variables are those of containerboot, the official image's entry point
(https://tailscale.com/kb/1282/docker).
*/}}

{{/* The Secret that the chart makes for a key or a client secret that is among the values. */}}
{{- define "tka.tailscale.ownSecret" -}}
{{- printf "%s-auth" (include "tka.workload" .) -}}
{{- end -}}

{{/*
How the node authenticates, as JSON: a list of all ways that the values give. A way has a variable, and the Secret and key of its file; or it is by
workload identity and has a client ID.
*/}}
{{- define "tka.tailscale.ways" -}}
{{- $ways := list -}}
{{- $own := include "tka.tailscale.ownSecret" . -}}
{{- with .Values.tailscale -}}
{{- if trim .authKey.value -}}
{{- $ways = append $ways (dict "by" "tailscale.authKey.value" "variable" "TS_AUTHKEY" "secret" $own "key" "authkey" "content" (trim .authKey.value)) -}}
{{- end -}}
{{- with .authKey.existingSecret -}}
{{- if .name -}}
{{- $ways = append $ways (dict "by" "tailscale.authKey.existingSecret" "variable" "TS_AUTHKEY" "secret" .name "key" .key) -}}
{{- end -}}
{{- end -}}
{{- if trim .oauth.clientSecret -}}
{{- $content := include "tka.tailscale.lasting" (trim .oauth.clientSecret) -}}
{{- $ways = append $ways (dict "by" "tailscale.oauth.clientSecret" "variable" "TS_CLIENT_SECRET" "secret" $own "key" "client-secret" "content" $content) -}}
{{- end -}}
{{- with .oauth.existingSecret -}}
{{- if .name -}}
{{- $ways = append $ways (dict "by" "tailscale.oauth.existingSecret" "variable" "TS_CLIENT_SECRET" "secret" .name "key" .key) -}}
{{- end -}}
{{- end -}}
{{- if .workloadIdentity.clientId -}}
{{- $ways = append $ways (dict "by" "tailscale.workloadIdentity" "clientId" (include "tka.tailscale.lasting" .workloadIdentity.clientId)) -}}
{{- end -}}
{{- end -}}
{{- toJson $ways -}}
{{- end -}}

{{/*
A client ID or secret whose nodes stay in the tailnet while their pod is away, and wait for no approval
(https://tailscale.com/kb/1215/oauth-clients#registering-new-nodes-using-oauth-credentials). One that says itself what it wants is left alone.
*/}}
{{- define "tka.tailscale.lasting" -}}
{{- if contains "?" . }}{{ . }}{{ else }}{{ printf "%s?ephemeral=false&preauthorized=true" . }}{{ end -}}
{{- end -}}

{{/* The audience of the pod's token, as Tailscale expects it unless the credential says otherwise. */}}
{{- define "tka.tailscale.audience" -}}
{{- with .Values.tailscale.workloadIdentity -}}
{{- .audience | default (printf "api.tailscale.com/%s" (.clientId | splitList "?" | first)) -}}
{{- end -}}
{{- end -}}

{{/* Arguments of `tailscale up`. containerboot splits them at blanks, which none has. */}}
{{- define "tka.tailscale.upArguments" -}}
{{- $arguments := list -}}
{{- with .Values.tailscale -}}
{{- with .controlUrl }}{{ $arguments = append $arguments (printf "--login-server=%s" .) }}{{ end -}}
{{- with .tags }}{{ $arguments = append $arguments (printf "--advertise-tags=%s" (join "," .)) }}{{ end -}}
{{- $arguments = concat $arguments .extraArgs -}}
{{- end -}}
{{- join " " $arguments -}}
{{- end -}}

{{/* What the node asks to be called: a host name without dots. */}}
{{- define "tka.tailscale.hostname" -}}
{{- .Values.tailscale.hostname | default (include "tka.fullname" . | replace "." "-") -}}
{{- end -}}

{{/*
Where a control server's authority is, as JSON: the volume's source and the key in it. Optional, so that the pod starts without it: the server ends
sessions meanwhile, and the wrapper of containerboot names what is missing.
*/}}
{{- define "tka.tailscale.authority" -}}
{{- $authority := dict -}}
{{- with .Values.tailscale.caCert -}}
{{- if .configMap.name -}}
{{- $authority = dict "source" (dict "configMap" (dict "name" .configMap.name "optional" true "defaultMode" 420)) "kind" "ConfigMap" "name" .configMap.name "key" .configMap.key -}}
{{- else if .secret.name -}}
{{- $authority = dict "source" (dict "secret" (dict "secretName" .secret.name "optional" true "defaultMode" 420)) "kind" "Secret" "name" .secret.name "key" .secret.key -}}
{{- end -}}
{{- end -}}
{{- toJson $authority -}}
{{- end -}}

{{/*
What the container runs. The server's container starts once this one was seen running. containerboot may end at once, for example where it may not read
its state: from its second start on it is held up, so that the server comes to end sessions, and to say what is wrong. What it says last is kept beside the
socket then, because the server cannot read the log of another container: its own last line (`boot: `), and the last one of a command that it runs.
tailscaled's lines begin with a date, and end with how it shuts down. The shell waits for both, so that no line is lost. Without the file of an authority
Go would say of each certificate that its issuer is not known, and not which file is missing.
*/}}
{{- define "tka.tailscale.script" -}}
words=/var/run/tailscale/tailscaled.last-words;
{{- with include "tka.tailscale.authority" . | fromJson }} if [ ! -s "$SSL_CERT_FILE" ]; then echo "there is no $SSL_CERT_FILE: does {{ .kind }} {{ .name }} exist in this namespace, with the key {{ .key }}?" | tee "$words" >&2; if [ -e /tmp/started ]; then sleep 3; fi; : > /tmp/started; exit 1; fi;
{{- end }} if [ ! -e /tmp/started ]; then : > /tmp/started; exec /usr/local/bin/containerboot; fi; sleep 3; [ -p /tmp/said ] || mkfifo /tmp/said; {
  boot=; other=; while IFS= read -r line; do printf '%s\n' "$line"; case "$line" in boot:*) boot=$line;; [0-9][0-9][0-9][0-9]/*|'') ;; *) other=$line;; esac; done;
  printf '%s\n' "${other:+$other; }$boot" > "$words.new"; mv "$words.new" "$words"; } < /tmp/said &
reader=$!; /usr/local/bin/containerboot > /tmp/said 2>&1 & boot=$!; trap 'kill -TERM "$boot"' TERM INT; wait "$boot"; code=$?;
while kill -0 "$boot" 2>/dev/null; do wait "$boot"; code=$?; done; wait "$reader"; exit "$code"
{{- end -}}

{{/* The variables of containerboot. */}}
{{- define "tka.tailscale.env" -}}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_UID" "metadata.uid" "POD_IP" "status.podIP" "POD_IPS" "status.podIPs" }}
- name: {{ $name | quote }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: {{ $path | quote }}
{{- end }}
- name: TS_KUBE_SECRET
  value: $(POD_NAME)
- name: TS_SOCKET
  value: /var/run/tailscale/tailscaled.sock
- name: TS_USERSPACE
  value: "true"
# A node that has joined stays joined, also when the key that it joined with is no longer valid.
- name: TS_AUTH_ONCE
  value: "true"
- name: TS_LOGS_DIR
  value: /tmp
- name: TS_HOSTNAME
  value: {{ include "tka.tailscale.hostname" . | quote }}
{{- with include "tka.tailscale.upArguments" . }}
- name: TS_EXTRA_ARGS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.tailscale.daemonExtraArgs }}
- name: TS_TAILSCALED_EXTRA_ARGS
  value: {{ join " " . | quote }}
{{- end }}
- name: TS_ENABLE_HEALTH_CHECK
  value: "true"
# Not on loopback, to where tailscaled hands what comes over the tailnet.
- name: TS_LOCAL_ADDR_PORT
  value: $(POD_IP):9002
{{- if eq (int .Values.port) 443 }}
# The server's user may fetch the certificate of the node's name, and change nothing.
- name: TS_PERMIT_CERT_UID
  value: "65532"
{{- end }}
{{- range include "tka.tailscale.ways" . | fromJsonArray }}
{{- if .secret }}
- name: {{ .variable | quote }}
  value: {{ printf "file:/var/run/secrets/tailscale/%s/%s" .secret .key | quote }}
{{- else }}
- name: TS_CLIENT_ID
  value: {{ .clientId | quote }}
- name: TS_ID_TOKEN
  value: file:/var/run/secrets/tailscale/identity/token
{{- end }}
{{- end }}
{{- with include "tka.tailscale.authority" . | fromJson }}
- name: SSL_CERT_FILE
  value: {{ printf "/etc/tailscale/authority/%s" .key | quote }}
{{- end }}
{{- with .Values.tailscale.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
