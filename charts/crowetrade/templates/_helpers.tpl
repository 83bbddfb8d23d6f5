{{- define "crowetrade.labels" -}}
app.kubernetes.io/part-of: crowetrade
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "crowetrade.operatorSelector" -}}
app.kubernetes.io/name: crowetrade-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* As KEPT_CONFIG_MAPS of crowetrade_process.audit.verification, which a test compares. */ -}}
{{- define "crowetrade.auditConfigMaps" -}}
[crowetrade-audit, crowetrade-audit-1, crowetrade-audit-2, crowetrade-audit-3]
{{- end }}

{{- define "crowetrade.riskAuditorSelector" -}}
app.kubernetes.io/name: crowetrade-risk-auditor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "crowetrade.authorizerSelector" -}}
app.kubernetes.io/name: crowetrade-authorizer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "crowetrade.natsSelector" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* A map as "k=v,k=v", the notation of the operator's settings. */ -}}
{{- define "crowetrade.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
{{- join "," $pairs }}
{{- end }}

{{- /* An image by its digest where it has one, whatever its tag names later. */ -}}
{{- define "crowetrade.image" -}}
{{- printf "%s:%s" .repository .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "crowetrade.natsUrl" -}}
{{- .Values.nats.url | default (printf "nats://nats.%s.svc:4222" .Release.Namespace) }}
{{- end }}

{{- define "crowetrade.natsNamespaceLabels" -}}
{{- .Values.nats.namespaceLabels | default (dict "kubernetes.io/metadata.name" .Release.Namespace) | toYaml }}
{{- end }}

{{- define "crowetrade.natsPodLabels" -}}
{{- .Values.nats.podLabels | default (dict "app.kubernetes.io/name" "nats") | toYaml }}
{{- end }}

{{- /* Labels of a pod beside its selector's: none that changes with the version, so that an upgrade restarts what it
changes and nothing else. */ -}}
{{- define "crowetrade.podLabels" -}}
app.kubernetes.io/part-of: crowetrade
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of a pod: the component's values, and its own. */ -}}
{{- define "crowetrade.podAnnotations" -}}
{{- with merge (dict) (index . 1) ((index . 0).annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where the pods of a component may run, and with what credentials their images are pulled. */ -}}
{{- define "crowetrade.scheduling" -}}
{{- $root := index . 0 }}
{{- with index . 1 }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Further environment of a component: a list's items. */ -}}
{{- define "crowetrade.env" -}}
{{- range $name, $value := .env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "crowetrade.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "crowetrade.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* "true" when processes prove who they are, and the bus and gateways take mutual TLS alone. */ -}}
{{- define "crowetrade.identified" -}}
{{- if ne .Values.identity.source "None" }}true{{ end }}
{{- end }}

{{- /* "true" when a process asks Vault for its certificate itself. */ -}}
{{- define "crowetrade.identityFromVault" -}}
{{- if eq .Values.identity.source "Vault" }}true{{ end }}
{{- end }}

{{- /* Environment by which a process of this namespace gets its identity, and where Vault is: a list's items. */ -}}
{{- define "crowetrade.identityEnv" -}}
{{- $source := .Values.identity.source }}
- {name: IDENTITY_SOURCE, value: {{ if eq $source "CertManager" }}Files{{ else }}{{ $source }}{{ end }}}
{{- if include "crowetrade.identified" . }}
- {name: IDENTITY_TRUST_DOMAIN, value: {{ .Values.identity.trustDomain | quote }}}
- {name: IDENTITY_ADMINISTRATORS, value: {{ join "," .Values.identity.administrators | quote }}}
- {name: IDENTITY_LIFETIME, value: {{ .Values.identity.lifetime | quote }}}
- {name: IDENTITY_OPERATOR_NAMESPACE, value: {{ .Release.Namespace | quote }}}
{{- end }}
{{- if include "crowetrade.identityFromVault" . }}
- {name: IDENTITY_VAULT_PKI_PATH, value: {{ .Values.identity.vault.pkiPath | quote }}}
- {name: IDENTITY_VAULT_ROLE, value: {{ .Values.identity.vault.role | quote }}}
- {name: IDENTITY_VAULT_AUTH_PATH, value: {{ .Values.identity.vault.authPath | quote }}}
- {name: IDENTITY_VAULT_AUTH_ROLE, value: {{ .Values.identity.vault.authRole | quote }}}
{{- include "crowetrade.vaultEnv" . | nindent 0 }}
{{- end }}
{{- end }}

{{- /* Where Vault is: a list's items. */ -}}
{{- define "crowetrade.vaultEnv" -}}
- {name: VAULT_ADDR, value: {{ .Values.vault.address | quote }}}
{{- with .Values.vault.namespace }}
- {name: VAULT_NAMESPACE, value: {{ . | quote }}}
{{- end }}
{{- with .Values.vault.serverName }}
- {name: VAULT_TLS_SERVER_NAME, value: {{ . | quote }}}
{{- end }}
{{- if .Values.vault.allowHttp }}
- {name: IDENTITY_VAULT_ALLOW_HTTP, value: "true"}
{{- end }}
{{- if .Values.vault.caCertificate }}
- {name: VAULT_CACERT, value: /var/run/secrets/crowetrade/vault/vault-ca.crt}
{{- end }}
{{- end }}

{{- /* The volume with what the identity is made of: the token for Vault, or the certificate itself. */ -}}
{{- define "crowetrade.identityVolume" -}}
{{- $root := index . 0 }}{{ $account := index . 1 }}
{{- if include "crowetrade.identityFromVault" $root }}
{{- include "crowetrade.vaultVolume" $root }}
{{- else if include "crowetrade.identified" $root }}
- name: identity
  secret: {secretName: {{ $account }}-identity, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "crowetrade.identityMount" -}}
{{- if include "crowetrade.identityFromVault" . }}
{{- include "crowetrade.vaultMount" . }}
{{- else if include "crowetrade.identified" . }}
- {name: identity, mountPath: /var/run/crowetrade/identity, readOnly: true}
{{- end }}
{{- end }}

{{- /* A token for Vault where identities come from it, and the authority that signed Vault's own certificate. */ -}}
{{- define "crowetrade.vaultVolume" -}}
- name: vault
  projected:
    defaultMode: 0440
    sources:
    {{- if or (include "crowetrade.identityFromVault" .) (include "crowetrade.vaultRoles" .) }}
    - serviceAccountToken: {audience: vault, expirationSeconds: 3600, path: token}
    {{- end }}
    {{- if .Values.vault.caCertificate }}
    - configMap: {name: crowetrade-vault-ca, items: [{key: vault-ca.crt, path: vault-ca.crt}]}
    {{- end }}
{{- end }}

{{- define "crowetrade.vaultMount" -}}
- {name: vault, mountPath: /var/run/secrets/crowetrade/vault, readOnly: true}
{{- end }}

{{- /* The numbers of an address, as JSON: four of IPv4, eight of IPv6. */ -}}
{{- define "crowetrade.addressNumbers" -}}
{{- $numbers := list }}
{{- if contains ":" . }}
{{- $sides := splitList "::" . }}
{{- $left := compact (splitList ":" (first $sides)) }}
{{- $right := list }}
{{- if gt (len $sides) 1 }}{{ $right = compact (splitList ":" (last $sides)) }}{{ end }}
{{- range $left }}{{ $numbers = append $numbers (int64 (printf "0x%s" .)) }}{{ end }}
{{- range until (int (max 0 (sub 8 (add (len $left) (len $right))))) }}{{ $numbers = append $numbers 0 }}{{ end }}
{{- range $right }}{{ $numbers = append $numbers (int64 (printf "0x%s" .)) }}{{ end }}
{{- else }}
{{- range splitList "." . }}{{ $numbers = append $numbers (int64 .) }}{{ end }}
{{- end }}
{{- toJson $numbers }}
{{- end }}

{{- /* "true" when a network holds an address: both by IPv4 or both by IPv6. */ -}}
{{- define "crowetrade.holds" -}}
{{- $network := splitList "/" .network }}
{{- $bits := int (last $network) }}
{{- $numbers := include "crowetrade.addressNumbers" (first $network) | fromJsonArray }}
{{- $wanted := include "crowetrade.addressNumbers" .address | fromJsonArray }}
{{- $width := ternary 8 16 (eq (len $wanted) 4) }}
{{- $holds := eq (len $numbers) (len $wanted) }}
{{- range $place, $number := $numbers }}
{{- $divisor := 1 }}
{{- range until (int (sub $width (min $width (max 0 (sub $bits (mul $place $width)))))) }}{{ $divisor = mul $divisor 2 }}{{ end }}
{{- if $holds }}
{{- $holds = eq (div (int64 $number) $divisor) (div (int64 (index $wanted $place)) $divisor) }}
{{- end }}
{{- end }}
{{- if $holds }}true{{ end }}
{{- end }}

{{- /* Networks of a NetworkPolicy's peer: a list's items. Those that hold everything leave out where clouds tell a machine
its credentials, as the operator's policies do (METADATA_NETWORKS); another one that holds such an address is refused. */ -}}
{{- define "crowetrade.networks" -}}
{{- range . }}
{{- if eq . "0.0.0.0/0" }}
- ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
{{- else if eq . "::/0" }}
- ipBlock: {cidr: "::/0", except: ["fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10"]}
{{- else }}
{{- $network := . }}
{{- range list "169.254.169.254" "fd00:ec2::254" "fd20:ce::254" "fe80::a9fe:a9fe" }}
{{- if include "crowetrade.holds" (dict "network" $network "address" .) }}
{{- fail (printf "network %s holds %s, where clouds tell a machine its credentials: name smaller networks, or 0.0.0.0/0 or ::/0, which leave such addresses out" $network .) }}
{{- end }}
{{- end }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- /* Pods of a NetworkPolicy's peer, by labels of their namespace and their own: a list's item, none without labels. */ -}}
{{- define "crowetrade.pods" -}}
{{- if or .namespaceLabels .podLabels }}
- namespaceSelector:
    matchLabels: {{ .namespaceLabels | default dict | toJson }}
  {{- with .podLabels }}
  podSelector:
    matchLabels: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The ports of URLs separated by commas: a list's items. The second is the port of a URL that names none. */ -}}
{{- define "crowetrade.urlPorts" -}}
{{- $ports := list }}
{{- range splitList "," (index . 0) }}
{{- $url := urlParse (trim .) }}
{{- $usual := index $ 1 | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $usual) }}
{{- end }}
{{- range $ports | uniq }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}

{{- define "crowetrade.identityEgress" -}}
{{- if include "crowetrade.identityFromVault" . }}
{{- include "crowetrade.vaultEgress" . }}
{{- end }}
{{- end }}

{{- define "crowetrade.vaultEgress" -}}
- to: # Vault, for certificates and the roles of venues
  {{- if .Values.vault.cidrs }}
  {{- include "crowetrade.networks" .Values.vault.cidrs | nindent 2 }}
  {{- else }}
  {{- include "crowetrade.pods" .Values.vault | nindent 2 }}
  {{- end }}
  ports:
  {{- include "crowetrade.urlPorts" (list .Values.vault.address "") | nindent 2 }}
{{- end }}

{{- /* "true" when the operator looks after the Vault roles of venues. */ -}}
{{- define "crowetrade.vaultRoles" -}}
{{- if and .Values.vault.address (ne .Values.vault.roles "None") }}true{{ end }}
{{- end }}

{{- /* "true" when the operator needs a token for Vault, or the authority of Vault's certificate. */ -}}
{{- define "crowetrade.operatorUsesVault" -}}
{{- if or .Values.vault.caCertificate (include "crowetrade.vaultRoles" .) }}true{{ end }}
{{- end }}

{{- define "crowetrade.dnsEgress" -}}
- to:
  {{- include "crowetrade.pods" .Values.dns | nindent 2 }}
  {{- include "crowetrade.networks" .Values.dns.cidrs | nindent 2 }}
  ports:
  - {port: 53, protocol: UDP}
  - {port: 53, protocol: TCP}
{{- end }}

{{- define "crowetrade.natsEgress" -}}
- to:
  {{- if .Values.nats.cidrs }}
  {{- include "crowetrade.networks" .Values.nats.cidrs | nindent 2 }}
  {{- else }}
  {{- include "crowetrade.pods" (dict "namespaceLabels" (include "crowetrade.natsNamespaceLabels" . | fromYaml) "podLabels" (include "crowetrade.natsPodLabels" . | fromYaml)) | nindent 2 }}
  {{- end }}
  ports:
  {{- include "crowetrade.urlPorts" (list (include "crowetrade.natsUrl" .) "4222") | nindent 2 }}
{{- end }}

{{- define "crowetrade.apiServerEgress" -}}
- to:
  {{- include "crowetrade.networks" .Values.operator.networkPolicy.apiServer.cidrs | nindent 2 }}
  ports:
  {{- range .Values.operator.networkPolicy.apiServer.ports }}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
{{- end }}

{{- /* Metrics are read from this namespace and from where monitoring is. */ -}}
{{- define "crowetrade.metricsIngress" -}}
- from:
  - podSelector: {}
  {{- include "crowetrade.pods" .Values.monitoring | nindent 2 }}
  {{- include "crowetrade.networks" .Values.monitoring.cidrs | nindent 2 }}
  ports:
  - {port: 8080, protocol: TCP}
{{- end }}

{{- /* The version of MutatingAdmissionPolicy that the API server knows; empty where it knows none. */ -}}
{{- define "crowetrade.mutatingAdmissionPolicy" -}}
{{- $version := "" }}
{{- range list "v1" "v1beta1" }}
{{- if and (not $version) ($.Capabilities.APIVersions.Has (printf "admissionregistration.k8s.io/%s/MutatingAdmissionPolicy" .)) }}
{{- $version = . }}
{{- end }}
{{- end }}
{{- $version }}
{{- end }}
