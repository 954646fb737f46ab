/** Metrics of Istio (istio_*), access logs. */
import * as z from 'zod'
import { port } from './fields.ts'
import { DEFAULT_MAX_LINES_PER_SECOND } from '../../../model/access-log/access-log.ts'
import { DEFAULT_MAX_SERIES } from '../../../model/telemetry.ts'

export const telemetry = () =>
  z.strictObject({
    /**
     * Label sets of istio_* metrics, each of which is up to four metrics and takes about 3 KiB. Peers and hosts are in
     * the labels; beyond it all that is new counts in one series with the labels `unknown`.
     */
    maxSeries: z.number().int().min(0).max(100_000).default(DEFAULT_MAX_SERIES),
    /**
     * Serve `/stats/prometheus` (also as `/metrics`) and `/healthz/ready`, each of them both, and nothing else; a sidecar has 15090, 15020 and
     * 15021. Whoever reaches them reads the metrics.
     */
    ports: z.array(port()).max(8).default([]),
    address: z.union([z.ipv4(), z.ipv6()]).default('0.0.0.0'),
    /** Of this machine (127.0.0.1): their metrics stand behind our own on `ports`, but for 15090. */
    applications: z
      .array(
        z.strictObject({
          port: port(),
          path: z
            .string()
            .regex(/^\/[\x21-\x7e]*$/, 'must be a path')
            .default('/metrics'),
        }),
      )
      .max(16)
      .default([]),
    /** Where the mesh asks for access logs. */
    accessLogs: z
      .strictObject({
        /** In which files may be written that the mesh names; symbolic links may not lead out of them. */
        folders: z
          .array(z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..'))
          .max(16)
          .default([]),
        /** Of all logs together, also on the standard output; what is above is left out and counted. */
        maxLinesPerSecond: z.number().int().min(0).max(1_000_000).default(DEFAULT_MAX_LINES_PER_SECOND),
        /** A file of that size gets `.1` behind its name, in place of the one before. */
        maxFileBytes: z
          .number()
          .int()
          .min(64 * 1024)
          .default(10 * 1024 * 1024),
      })
      .prefault({}),
    /** Spans and entries of access logs, on their way to collectors of the mesh. */
    export: z
      .strictObject({
        /** Of what collectors do not take, in the state folder; 0: it waits in memory alone. */
        maxDiskBytes: z
          .number()
          .int()
          .min(0)
          .max(1024 * 1024 * 1024)
          .default(16 * 1024 * 1024),
      })
      .prefault({}),
  })
