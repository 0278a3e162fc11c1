import type { JobRequest } from '../../../src/protocol.js'

/** The requested options, without the bytes of images. */
export type JobOptions = Omit<JobRequest, 'image' | 'mask' | 'semanticMap' | 'depthMap'>
