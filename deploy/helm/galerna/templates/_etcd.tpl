{{/* Where etcd is. */}}

{{/* Each member by its name where there are several, so that one which is lost is not asked again; else by the service,
     whose address stays. */}}
{{- define "galerna.endpoints" -}}
{{- $etcd := printf "%s-etcd" (include "galerna.fullname" .) -}}
{{- if not .Values.etcd.enabled -}}
{{- join "," .Values.externalEtcd.endpoints -}}
{{- else if eq (int .Values.etcd.replicas) 1 -}}
http://{{ $etcd }}:2379
{{- else -}}
{{- range $i := until (int .Values.etcd.replicas) -}}
{{ if $i }},{{ end }}http://{{ $etcd }}-{{ $i }}.{{ $etcd }}-peers:2379
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "galerna.cluster" -}}
{{- if .Values.clusterName -}}
{{- .Values.clusterName -}}
{{- else if .Values.etcd.enabled -}}
default
{{- else -}}
{{- printf "%s.%s" .Release.Namespace .Release.Name -}}
{{- end -}}
{{- end -}}

{{- define "galerna.etcdAlive" -}}
{{- if .Values.etcd.livenessPath -}}
httpGet: {path: {{ .Values.etcd.livenessPath }}, port: metrics}
{{- else -}}
tcpSocket: {port: peer}
{{- end -}}
{{- end -}}
