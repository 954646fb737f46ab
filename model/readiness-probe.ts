/**
 * How the workload behind this node is asked whether it works (istio networking/v1alpha3 ReadinessProbe), and what came
 * of it.
 */

export type ReadinessProbe = {
  readonly initialDelaySeconds: number
  readonly timeoutSeconds: number
  readonly periodSeconds: number
  /** In a row. */
  readonly successThreshold: number
  readonly failureThreshold: number
  /** Exactly one of the four. */
  readonly httpGet?: HttpProbe | undefined
  readonly tcpSocket?: { readonly host?: string | undefined; readonly port: number } | undefined
  readonly exec?: { readonly command: readonly string[] } | undefined
  readonly grpc?: { readonly port: number; readonly service: string } | undefined
}
export type HttpProbe = {
  readonly path: string
  readonly port: number
  readonly host?: string | undefined
  readonly scheme: 'HTTP' | 'HTTPS'
  readonly httpHeaders: readonly { readonly name: string; readonly value: string }[]
}

/** `unknown`: not asked often enough yet. */
export type WorkloadHealth = {
  readonly state: 'unknown' | 'healthy' | 'unhealthy'
  /** Why it is unhealthy. */
  readonly reason: string | undefined
  /** Monotonic milliseconds of the last change of `state`. */
  readonly sinceMs: number
}
