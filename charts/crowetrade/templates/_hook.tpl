{{- /*
A Job of the operator's image that Helm runs, with an account and rights that are there meanwhile. A dict: root; name;
hooks; module; container; of (whose pods it is scheduled like); rules, and clusterRules where it needs some.
*/ -}}
{{- define "crowetrade.hook" -}}
{{- $root := .root }}
{{- $labels := printf "app.kubernetes.io/name: %s\napp.kubernetes.io/instance: %s\n%s" .name $root.Release.Name (include "crowetrade.labels" $root) }}
{{- $metadata := printf "name: %s\nnamespace: %s\nlabels:\n  %s\nannotations:\n  helm.sh/hook: %s\n  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded" .name $root.Release.Namespace ($labels | replace "\n" "\n  ") .hooks }}
{{- $subjects := printf "- {kind: ServiceAccount, name: %s, namespace: %s}" .name $root.Release.Namespace }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- $metadata | nindent 2 }}
    helm.sh/hook-weight: "-20"
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- $metadata | nindent 2 }}
    helm.sh/hook-weight: "-20"
rules:
{{- .rules | nindent 0 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- $metadata | nindent 2 }}
    helm.sh/hook-weight: "-19"
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .name }}}
subjects:
{{ $subjects }}
{{- with .clusterRules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- $metadata | replace (printf "\nnamespace: %s" $root.Release.Namespace) "" | nindent 2 }}
    helm.sh/hook-weight: "-20"
rules:
{{- . | nindent 0 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- $metadata | replace (printf "\nnamespace: %s" $root.Release.Namespace) "" | nindent 2 }}
    helm.sh/hook-weight: "-19"
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $.name }}}
subjects:
{{ $subjects }}
{{- end }}
{{- if .of.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- $metadata | nindent 2 }}
    helm.sh/hook-weight: "-19"
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/name: {{ .name }}}
  policyTypes: [Ingress, Egress]
  egress:
  {{- include "crowetrade.apiServerEgress" $root | nindent 2 }}
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- $metadata | nindent 2 }}
    helm.sh/hook-weight: "-10"
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 300
  template:
    metadata:
      labels: {{- $labels | nindent 8 }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      restartPolicy: Never
      securityContext:
        {{- include "crowetrade.restrictedPod" $root | nindent 8 }}
      {{- include "crowetrade.scheduling" (list $root .of) | nindent 6 }}
      containers:
      - name: {{ .container }}
        image: {{ include "crowetrade.image" $root.Values.operator.image }}
        imagePullPolicy: {{ $root.Values.operator.image.pullPolicy }}
        command: [/opt/venv/bin/python, -m, {{ .module }}]
        args: [{{ $root.Release.Namespace }}]
        resources:
          requests: {cpu: 50m, memory: 64Mi, ephemeral-storage: 64Mi}
          limits: {memory: 256Mi, ephemeral-storage: 512Mi}
        securityContext:
          {{- include "crowetrade.restrictedContainer" $root | nindent 10 }}
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - {name: tmp, mountPath: /tmp}
      volumes:
      - name: tmp
        emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{- /* The right to make one Secret once, and to read that one alone. */ -}}
{{- define "crowetrade.secretOnce" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create] # a create request has no name to restrict it by
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ . }}]
  verbs: [get]
{{- end }}
