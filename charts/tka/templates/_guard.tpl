{{/*
What the guard's policies share. Each definition that says "CEL" is an expression of
https://kubernetes.io/docs/reference/using-api/cel/, without a line of its own in quotes.
*/}}

{{/* The name of one policy: a DNS name, the policy's own part first, so that no two releases ever meet. */}}
{{- define "tka.guard.name" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.%s.tka.specht-labs.de" (index . 1) (include "tka.fullname" $root) $root.Release.Namespace -}}
{{- end -}}

{{- define "tka.guard.head" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "tka.guard.name" . | quote }}
  labels: {{- include "tka.labels" $root | nindent 4 }}
{{- end -}}

{{- define "tka.guard.binding" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "tka.guard.name" . | quote }}
  labels: {{- include "tka.labels" $root | nindent 4 }}
spec:
  policyName: {{ include "tka.guard.name" . | quote }}
  validationActions: [Deny, Audit]
{{- end -}}

{{/*
Where a policy looks. What the API server would fill in is written out, here and as `scope`: what is installed is what was rendered, and
programs that compare the two find no difference.
*/}}
{{- define "tka.guard.everywhere" -}}
matchPolicy: Equivalent
objectSelector: {}
namespaceSelector: {}
{{- end -}}

{{/* Only what is in the release's namespace, where the sessions live. */}}
{{- define "tka.guard.here" -}}
matchPolicy: Equivalent
objectSelector: {}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
{{- end -}}

{{- define "tka.guard.serverName" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "tka.serviceAccountName" . }}
{{- end -}}

{{/*
CEL: the server itself asks, with a token of its account. Kubernetes lets those who may edit a namespace impersonate its accounts. They do not
have a token's ID (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#token-ids), unless RBAC also lets them
impersonate `userextras/authentication.kubernetes.io/credential-id`: then admission cannot tell them from the server.
*/}}
{{- define "tka.guard.isServer" -}}
request.userInfo.username == '{{ include "tka.guard.serverName" . }}' &&
request.userInfo.?extra[?'authentication.kubernetes.io/credential-id'].orValue([]).exists(id, id.startsWith('JTI='))
{{- end -}}

{{/* CEL: one of the cluster's own controllers asks. */}}
{{- define "tka.guard.isController" -}}
'system:serviceaccounts:kube-system' in request.userInfo.groups ||
request.userInfo.username == 'system:kube-controller-manager'
{{- end -}}

{{/* The right to give the server's rights away is as much as the server's rights. */}}
{{- define "tka.guard.mayBeServer" -}}
authorizer.group('rbac.authorization.k8s.io').resource('clusterroles').name('{{ include "tka.clusterName" . }}').check('bind').allowed()
{{- end -}}

{{/* What a session, and so its account, is called (`SessionName` in crates/tka-core); RE2, without its anchors. */}}
{{- define "tka.guard.session" -}}
tka-(.+-)?[a-z2-7]{32}
{{- end -}}
