/**
 * Images on their way from buildah to an archive: what buildah cannot say, and one archive for several architectures
 * (OCI image specification 1.1).
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

type Descriptor = {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly architecture: string; readonly os: string }
  readonly annotations?: Readonly<Record<string, string>>
}
type Manifest = { readonly schemaVersion: 2; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
type Config = { readonly architecture: string; readonly os: string; readonly config: object }
/** An image in a layout folder. */
export type Image = { readonly layout: string; readonly manifest: Descriptor; readonly blobs: readonly string[] }
export type Healthcheck = {
  readonly Test: readonly string[]
  readonly Interval: number
  readonly Timeout: number
  readonly StartPeriod: number
  readonly Retries: number
}

const INDEX = 'application/vnd.oci.image.index.v1+json'

/**
 * The only image of the layout, with a health check. OCI's own words have none; Docker and Podman read it at this
 * place.
 */
export function withHealthcheck(layout: string, healthcheck: Healthcheck): Image {
  const index = json<{ manifests: Descriptor[] }>(path.join(layout, 'index.json'))
  const before = index.manifests[0]!
  const manifest = json<Manifest>(blob(layout, before.digest))
  const config = json<Config>(blob(layout, manifest.config.digest))
  const newConfig = put(layout, manifest.config.mediaType, {
    ...config,
    config: { ...config.config, Healthcheck: healthcheck },
  })
  const newManifest = put(layout, before.mediaType, { ...manifest, config: newConfig })
  return {
    layout,
    manifest: { ...newManifest, platform: { architecture: config.architecture, os: config.os } },
    blobs: [newManifest, newConfig, ...manifest.layers].map((d) => d.digest),
  }
}

/**
 * Several images become one with an index: whoever loads it takes the one of its architecture.
 * @param name what it is called once loaded
 */
export function writeArchive(archive: string, images: readonly Image[], name: string): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-oci-'))
  try {
    fs.mkdirSync(path.join(folder, 'blobs/sha256'), { recursive: true })
    for (const { layout, blobs } of images)
      for (const digest of blobs) fs.copyFileSync(blob(layout, digest), blob(folder, digest))
    const top =
      images.length === 1
        ? images[0]!.manifest
        : put(folder, INDEX, { schemaVersion: 2, mediaType: INDEX, manifests: images.map((i) => i.manifest) })
    // containerd reads the first, Podman and skopeo the second.
    const annotations = {
      'io.containerd.image.name': `docker.io/library/${name}`,
      'org.opencontainers.image.ref.name': name,
    }
    fs.writeFileSync(
      path.join(folder, 'index.json'),
      JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [{ ...top, annotations }] }),
    )
    fs.writeFileSync(path.join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    fs.rmSync(archive, { force: true })
    execFileSync('tar', [
      'cf',
      archive,
      '--sort=name',
      '--mtime=@0',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '-C',
      folder,
      'oci-layout',
      'index.json',
      'blobs',
    ])
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

function put(layout: string, mediaType: string, content: object): Descriptor {
  const text = JSON.stringify(content)
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`
  fs.writeFileSync(blob(layout, digest), text)
  return { mediaType, digest, size: Buffer.byteLength(text) }
}
function blob(layout: string, digest: string): string {
  return path.join(layout, 'blobs', digest.replace(':', '/'))
}
function json<T>(file: string): T {
  return JSON.parse(fs.readFileSync(file, 'utf8')) as T
}
