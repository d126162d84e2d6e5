{{/* The name of what is in the release's namespace. */}}
{{- define "tka.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
The name of what is outside the release's namespace. RBAC objects may have a colon in their name and nothing that a
namespace or release is called has one, so that no two releases ever meet.
*/}}
{{- define "tka.clusterName" -}}
{{- printf "tka:%s:%s" .Release.Namespace (include "tka.fullname" .) -}}
{{- end -}}

{{- define "tka.serviceAccountName" -}}
{{- default (include "tka.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "tka.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "tka.subjects" -}}
- kind: ServiceAccount
  name: {{ include "tka.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
