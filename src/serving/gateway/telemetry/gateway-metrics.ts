import { counter, gauge, histogram } from '../../../kernel/metrics/metric.ts'

const OF_VERSION = ['endpoint', 'model', 'version'] as const
/** Of one deployment: a version as it is served, with its replicas. */
const OF_DEPLOYMENT = ['deployment', 'model', 'version'] as const

/** All that a gateway tells, in the order of its answer; process metrics follow. */
export const gatewayMetrics = {
  httpDuration: histogram('http_server_request_duration_seconds', {
    help: 'From the head of a request to the end of its answer. Routes have names taken out; no route: nothing is there.',
    labels: ['http_request_method', 'http_response_status_code', 'http_route'],
  }),
  requests: counter('millrace_requests_total', {
    help:
      'Requests by the version that had to answer them. Origin: live, shadow (copies), fallback, member (of a gather). ' +
      'Outcome: answered (below 500), failed, rescued (failed, and answered by another version or the fallback), ' +
      'interrupted (the client left), dropped (copies that were not sent).',
    labels: [...OF_VERSION, 'origin', 'outcome'],
  }),
  duration: histogram('millrace_request_duration_seconds', {
    help: 'From the choice of a version to its answer, copies for shadows left out.',
    labels: OF_VERSION,
  }),
  endpointInFlight: gauge('millrace_endpoint_requests_in_flight', {
    help: 'Requests of an endpoint that are under way.',
    labels: ['endpoint'],
  }),
  refused: counter('millrace_requests_refused_total', {
    help: 'Requests that were refused by a limit: of the gateway, of their endpoint, of their caller.',
    labels: ['limit'],
  }),
  uncounted: counter('millrace_requests_uncounted_total', {
    help: 'Requests that found no place in the counters; anything but 0 is a fault of Millrace.',
  }),
  inFlight: gauge('millrace_deployment_requests_in_flight', {
    help: 'Requests that chose a deployment and have not ended, those that wait among them.',
    labels: OF_DEPLOYMENT,
  }),
  waiting: gauge('millrace_deployment_requests_waiting', {
    help: 'Requests that wait for a replica to come free.',
    labels: OF_DEPLOYMENT,
  }),
  replicas: gauge('millrace_deployment_replicas', {
    help: 'Replicas as this gateway finds them: up, out (can not be reached or not ready), ejected (does badly).',
    labels: [...OF_DEPLOYMENT, 'state'],
  }),
  ejections: counter('millrace_deployment_ejections_total', {
    help: 'Times a replica was left out for doing badly.',
    labels: OF_DEPLOYMENT,
  }),
  hung: counter('millrace_deployment_hung_total', {
    help: 'Times a replica gave no sign any more.',
    labels: OF_DEPLOYMENT,
  }),
  late: counter('millrace_deployment_late_attempts_total', {
    help: 'Attempts that were given up for another replica to try.',
    labels: OF_DEPLOYMENT,
  }),
  retries: counter('millrace_deployment_retries_total', {
    help: 'Requests that were sent once more after a replica had begun with them.',
    labels: OF_DEPLOYMENT,
  }),
  retriesRefused: counter('millrace_deployment_retries_refused_total', {
    help: 'Retries that were not made, as too many were already.',
    labels: OF_DEPLOYMENT,
  }),
  circuitOpen: gauge('millrace_deployment_circuit_open', {
    help: '1 while the deployment is given time, as its last requests got no answer.',
    labels: OF_DEPLOYMENT,
  }),
  circuitOpened: counter('millrace_deployment_circuit_opened_total', {
    help: 'Times that it was given time.',
    labels: OF_DEPLOYMENT,
  }),
  circuitRefused: counter('millrace_deployment_circuit_refused_total', {
    help: 'Requests that were refused meanwhile.',
    labels: OF_DEPLOYMENT,
  }),
  shed: counter('millrace_deployment_shed_total', {
    help: 'Requests that were turned away from the queue, or lost their place in it.',
    labels: OF_DEPLOYMENT,
  }),
  connections: gauge('millrace_http_connections', { help: 'Open connections over HTTP.' }),
  httpInFlight: gauge('millrace_http_requests_in_flight', { help: 'HTTP requests whose answer has not left.' }),
  grpcInFlight: gauge('millrace_grpc_calls_in_flight', {
    help: 'gRPC calls that are being answered; none without gRPC.',
  }),
  routesRevision: gauge('millrace_routes_revision', {
    help: 'Revision of the routes in use; it grows with each change within an epoch.',
  }),
  routesEpoch: gauge('millrace_routes_epoch', {
    help: 'Epoch of the routes in use; each start of a control plane takes the next one.',
  }),
  routesIssued: gauge('millrace_routes_issued_timestamp_seconds', {
    help: 'When the control plane made the routes in use, in seconds since 1970; 0 before the first.',
  }),
  controlConnected: gauge('millrace_control_plane_connected', {
    help: '1 while routes are followed; at 0 the gateway serves from the last ones.',
  }),
  answered: counter('millrace_prediction_log_answered_total', {
    help: 'Predictions that were to be logged, over all restarts of the gateway.',
  }),
  logged: counter('millrace_prediction_log_logged_total', { help: 'Of those, on disk.' }),
  sampledOut: counter('millrace_prediction_log_sampled_out_total', { help: 'Of those, left out as declared.' }),
  logDropped: counter('millrace_prediction_log_dropped_total', {
    help: 'Of those, dropped because the disk was full or too slow (relaxed mode).',
  }),
  labels: counter('millrace_prediction_log_labels_total', { help: 'Labels that were taken.' }),
  logLag: gauge('millrace_prediction_log_lag_seconds', {
    help: 'Age of the oldest record that is not on disk, or not sealed yet.',
  }),
  diskFull: gauge('millrace_prediction_log_disk_full', { help: '1 while nothing is logged for want of disk space.' }),
  accessLines: counter('millrace_access_log_lines_total', { help: 'Lines written to the access log.' }),
  accessDropped: counter('millrace_access_log_dropped_total', {
    help: 'Lines that were not: errors beyond the limit, or a disk that is too slow.',
  }),
} as const
