{{- /* The template of a pod: root, role ("all" for the embedded one), resources, data (the volume of the data directory). */}}
{{- define "streamgauge.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "streamgauge.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/config: {{ $values.config | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  # What it has begun it finishes; a kill loses nothing either.
  terminationGracePeriodSeconds: 60
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: streamgauge
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args:
        - serve
        - --listen=0.0.0.0:8080
        {{- if ne .role "all" }}
        {{- /* Those that count also write the archive, where `env` names one. */}}
        - --roles={{ if eq .role "process" }}process,archive{{ else }}{{ .role }}{{ end }}
        {{- end }}
        {{- if $values.config }}
        - --config=/etc/streamgauge/streamgauge.toml
        {{- end }}
      env:
        - name: STREAMGAUGE_AUTH
          value: {{ $values.auth | quote }}
        {{- if $values.adminKey.secret }}
        - name: STREAMGAUGE_ADMIN_KEY
          valueFrom:
            secretKeyRef:
              name: {{ $values.adminKey.secret }}
              key: {{ $values.adminKey.secretKey }}
        {{- end }}
        - name: STREAMGAUGE_DATA_DIR
          value: /var/lib/streamgauge
        {{- if eq $values.mode "distributed" }}
        {{- with $values.distributed }}
        - name: STREAMGAUGE_LOG
          value: {{ printf "kafka://%s" .kafka | quote }}
        - name: STREAMGAUGE_STORE
          value: {{ printf "postgres://%s@%s:%v/%s?sslmode=%s" .postgres.user .postgres.host .postgres.port .postgres.database .postgres.sslmode | quote }}
        - name: PGPASSWORD
          valueFrom:
            secretKeyRef:
              name: {{ .postgres.secret }}
              key: {{ .postgres.secretKey }}
        {{- end }}
        {{- end }}
        {{- with $values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 8080
      # A log is read to its end before it is ready: on a large one that takes its time.
      startupProbe:
        httpGet: { path: /livez, port: http }
        periodSeconds: 2
        failureThreshold: 150
      livenessProbe:
        httpGet: { path: /livez, port: http }
        periodSeconds: 10
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: "/readyz{{ if ne .role "all" }}?role={{ .role }}{{ end }}", port: http }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      resources:
        {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - name: data
          mountPath: /var/lib/streamgauge
        {{- if $values.config }}
        - name: config
          mountPath: /etc/streamgauge
          readOnly: true
        {{- end }}
  {{- if or $values.config (ne .role "all") }}
  volumes:
    {{- if ne .role "all" }}
    - name: data
      emptyDir: {}
    {{- end }}
    {{- if $values.config }}
    - name: config
      configMap:
        name: {{ include "streamgauge.fullname" $root }}
    {{- end }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
