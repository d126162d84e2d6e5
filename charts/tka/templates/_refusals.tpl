{{/* Stops what cannot work, and says all of it at once, with what to do. */}}
{{- define "tka.refuse" -}}
{{- $wrong := list -}}
{{- if not (or .Values.roles .Values.namespacedRoles) -}}
{{- $wrong = append $wrong "roles and namespacedRoles are empty, so that every sign-in would be refused. Give the ClusterRoles that the tailnet policy may give out: --set 'roles={view}'. This lists them: kubectl get clusterroles" -}}
{{- end -}}
{{- $fromConfigMap := ((.Values.clusterInfo).configMap).enabled -}}
{{- if not (or (.Values.clusterInfo).apiEndpoint $fromConfigMap) -}}
{{- $wrong = append $wrong "clusterInfo.apiEndpoint is empty: the URL by which people reach the Kubernetes API server. This prints the one that you use: kubectl config view --minify --output=jsonpath='{.clusters[0].cluster.server}'" -}}
{{- else if and (.Values.clusterInfo).apiEndpoint $fromConfigMap -}}
{{- $wrong = append $wrong "clusterInfo.apiEndpoint and clusterInfo.configMap.enabled are both set: leave one out" -}}
{{- end -}}
{{- $ways := include "tka.tailscale.ways" . | fromJsonArray -}}
{{- if not $ways -}}
{{- $wrong = append $wrong "the server's node has no way to authenticate to the tailnet: set one of tailscale.authKey, tailscale.oauth and tailscale.workloadIdentity. A reusable auth key with a tag is made at https://login.tailscale.com/admin/settings/keys" -}}
{{- else if gt (len $ways) 1 -}}
{{- $names := list -}}
{{- range $ways }}{{ $names = append $names .by }}{{ end -}}
{{- $wrong = append $wrong (printf "the server's node authenticates to the tailnet in one way, and here are %d: %s" (len $ways) (join ", " $names)) -}}
{{- else if and (ne (index $ways 0).by "tailscale.authKey.value") (ne (index $ways 0).by "tailscale.authKey.existingSecret") (not .Values.tailscale.tags) -}}
{{- $wrong = append $wrong (printf "%s needs tailscale.tags: Tailscale makes tagged nodes for it, and no others" (index $ways 0).by) -}}
{{- end -}}
{{- if and .Values.tailscale.caCert.configMap.name .Values.tailscale.caCert.secret.name -}}
{{- $wrong = append $wrong "tailscale.caCert.configMap and tailscale.caCert.secret are both set: leave one out" -}}
{{- end -}}
{{- if and (.Values.recordings).existingClaim (((((.Values.config).gateway).recording).s3).bucket) -}}
{{- $wrong = append $wrong "recordings.existingClaim and config.gateway.recording.s3.bucket are both set: leave one out" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.metrics.serviceMonitor.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- $wrong = append $wrong "networkPolicy.metricsFrom is empty, so that Prometheus could not read what metrics.serviceMonitor has it read. Say where it runs: --set-json 'networkPolicy.metricsFrom=[{\"namespaceSelector\":{\"matchLabels\":{\"kubernetes.io/metadata.name\":\"monitoring\"}}}]'" -}}
{{- end -}}
{{- $needed := include "tka.endsWithin" . | int -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) $needed -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds is less than the server may take to end, which is config.server.writeTimeout and 15 s more: set it to %d" $needed) -}}
{{- end -}}
{{- $ownNames := .Files.Get "files/chart-variables.json" | fromJsonArray -}}
{{- range .Values.extraEnv -}}
{{- if has .name $ownNames -}}
{{- $wrong = append $wrong (printf "extraEnv has %s, which the chart sets" .name) -}}
{{- end -}}
{{- end -}}
{{- $theirNames := list "POD_NAME" "POD_UID" "POD_IP" "POD_IPS" "TS_SOCKET" "TS_USERSPACE" "TS_AUTH_ONCE" "TS_KUBE_SECRET" "TS_HOSTNAME" "TS_EXTRA_ARGS" "TS_TAILSCALED_EXTRA_ARGS" "TS_LOGS_DIR" "TS_LOCAL_ADDR_PORT" "TS_ENABLE_HEALTH_CHECK" "TS_PERMIT_CERT_UID" "TS_AUTHKEY" "TS_CLIENT_SECRET" "TS_CLIENT_ID" "TS_ID_TOKEN" "SSL_CERT_FILE" -}}
{{- range .Values.tailscale.extraEnv -}}
{{- if has .name $theirNames -}}
{{- $wrong = append $wrong (printf "tailscale.extraEnv has %s, which the chart sets" .name) -}}
{{- end -}}
{{- end -}}
{{- with $wrong -}}
{{- fail (printf "\n\n- %s\n\nserver.enabled=false installs what a server elsewhere needs, and no server." (join "\n- " .)) -}}
{{- end -}}
{{- end -}}
