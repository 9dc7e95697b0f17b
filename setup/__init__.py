"""Getting the head models: conversion of FLAME's download, and the builder of the open head."""
