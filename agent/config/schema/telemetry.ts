/** Metrics of Istio (istio_*). */
import * as z from 'zod'
import { DEFAULT_MAX_SERIES } from '../../../model/telemetry.ts'

export const telemetry = () =>
  z.strictObject({
    /**
     * Label sets of istio_* metrics, each of which is up to four metrics and takes about 3 KiB. Peers and hosts are in
     * the labels; beyond it all that is new counts in one series with the labels `unknown`.
     */
    maxSeries: z.number().int().min(0).max(100_000).default(DEFAULT_MAX_SERIES),
  })
