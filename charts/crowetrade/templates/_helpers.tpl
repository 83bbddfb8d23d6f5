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

{{- define "crowetrade.riskAuditorSelector" -}}
app.kubernetes.io/name: crowetrade-risk-auditor
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
