/** Metrics of Istio (istio_*). */
import * as z from 'zod'
import { port } from './fields.ts'
import { DEFAULT_MAX_SERIES } from '../../../model/telemetry.ts'

export const telemetry = () =>
  z.strictObject({
    /**
     * Label sets of istio_* metrics, each of which is up to four metrics and takes about 3 KiB. Peers and hosts are in
     * the labels; beyond it all that is new counts in one series with the labels `unknown`.
     */
    maxSeries: z.number().int().min(0).max(100_000).default(DEFAULT_MAX_SERIES),
    /**
     * Serve `/stats/prometheus` and `/healthz/ready`, each of them both, and nothing else; a sidecar has 15090, 15020 and
     * 15021. Whoever reaches them reads the metrics.
     */
    ports: z.array(port()).max(8).default([]),
    address: z.union([z.ipv4(), z.ipv6()]).default('0.0.0.0'),
  })
