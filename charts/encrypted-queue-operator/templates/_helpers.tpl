{{- define "eqo.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "eqo.fullname" -}}
{{- $name := include "eqo.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "eqo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "eqo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "eqo.labels" -}}
{{ include "eqo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "eqo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "eqo.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "eqo.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "eqo.leaseName" -}}
{{- .Values.operator.lease.name | default (include "eqo.fullname" .) }}
{{- end }}

{{- define "eqo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "eqo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* A list of strings as CEL writes it. The schema lets no quote or backslash in. */ -}}
{{- define "eqo.celList" -}}
{{- $quoted := list }}
{{- range . }}{{ $quoted = append $quoted (printf "'%s'" .) }}{{ end }}
{{- printf "[%s]" (join ", " $quoted) }}
{{- end }}

{{- define "eqo.definitions" -}}
- accessapprovals.encryptedqueue.dev
- encryptedqueues.encryptedqueue.dev
- queuekeys.encryptedqueue.dev
- sensitivitytiers.encryptedqueue.dev
- tenants.encryptedqueue.dev
{{- end }}

{{- /* Spec of a pod that runs one command of the operator's image: {root, serviceAccount, arguments}. */ -}}
{{- define "eqo.shortLived" -}}
{{- $root := .root -}}
serviceAccountName: {{ .serviceAccount }}
restartPolicy: Never
enableServiceLinks: false
securityContext:
  {{- include "eqo.podSecurity" $root | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ first .arguments }}
    image: {{ include "eqo.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: {{ .arguments | toJson }}
    resources:
      requests:
        cpu: 10m
        memory: 32Mi
        ephemeral-storage: 16Mi
      limits:
        memory: 64Mi
        ephemeral-storage: 64Mi
    securityContext:
      {{- include "eqo.containerSecurity" $root | nindent 6 }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
