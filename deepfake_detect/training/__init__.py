"""Manifest to detector: options, sanity checks, the loop, calibration, figures.

config         TrainingConfig: the options of a run
loop           train: checks, the head on a frozen backbone, then what the finetune mode names
prepare        everything a run works with, complete before the first step
stages, state  the stages of a run, and where it is: what it resumes from
run_folder     the folder of a run: lock, options, state, log
distributed    several processes that train one model
callbacks      follow a run: CSV, TensorBoard, W&B, MLflow, your own
data_module    batches of crops
forged         fakes that a run makes from its reals
losses         losses and their registry, class weights, distillation, mixup and CutMix
teachers       detectors to distill
optimization   optimizers, learning rates over time, averaged weights, SAM
finetune       which parameters are trained
batchnorm      batch-norm statistics of faces, before the first step
sanity         checks before the first step
validation     scores of the validation crops
history        the records of a run
detector_file  the detectors that a run writes
results        calibration, figures and predictions at the end
kept_epochs    detectors of chosen epochs
rate_finder    learning rate range test
backbone_study compare_backbones: the same protocol for several backbones
"""
